"""TLS for the doors: one strict context, the operator's certificate or one made here, read anew on SIGHUP."""

import fcntl
import os
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SELF_SIGNED = "self-signed.pem"
"""Certificate and key in one file: one rename replaces both, so no reader finds halves of two pairs."""

VALID_FOR = timedelta(days=825)
"""The longest that Apple's clients take ("Requirements for trusted certificates in iOS 13")."""

REMAKE_WITHIN_DAYS = 7

CLOCK_SKEW = timedelta(hours=1)
"""A client whose clock is late must not find a certificate from the future."""


class TLSConfigurationError(ValueError):
    """TLS_CERT or TLS_KEY cannot be used; the text is one line that names the setting."""


def server_context(
    cert: Path | None, key: Path | None, fallback_dir: Path, hostname: str, alpn: Sequence[str]
) -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 or newer (RFC 8997), our order of ciphers, no renegotiation.

    `cert` and `key` are PEM files (both, or neither: then a self-signed pair for `hostname` is made in
    `fallback_dir`); `alpn` are protocol names such as "pop3" (RFC 7301). Errors: TLSConfigurationError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_COMPRESSION  # CRIME
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make us pay for handshakes without end
    if alpn:
        context.set_alpn_protocols(list(alpn))
    _load(context, *certificate_files(cert, key, fallback_dir, hostname))
    return context


def reload_context(
    context: ssl.SSLContext,
    cert: Path | None,
    key: Path | None,
    fallback_dir: Path,
    hostname: str,
    alpn: Sequence[str],
) -> None:
    """Make a context that is in use present the certificate which is in the files now; for SIGHUP.

    Handshakes move to a new context, connections stay. Loading into the old one would leave it without a key
    when the new pair does not match, and would keep a certificate of another key type beside the new one.
    Errors: TLSConfigurationError; then the context goes on with what it has.
    """
    fresh = server_context(cert, key, fallback_dir, hostname, alpn)

    # OpenSSL calls this for each ClientHello, also for one without a server name.
    def present(connection: ssl.SSLObject, name: str | None, outer: ssl.SSLContext) -> None:
        connection.context = fresh

    context.sni_callback = present


def days_left(cert_path: Path) -> int:
    """Return the whole days until the first certificate of a PEM file expires; negative afterwards."""
    return (_certificate(cert_path).not_valid_after_utc - datetime.now(UTC)).days


def certificate_files(
    cert: Path | None, key: Path | None, fallback_dir: Path, hostname: str
) -> tuple[Path, Path]:
    """Return the certificate's and the key's file; where none is set a self-signed pair is made or renewed.

    Errors: TLSConfigurationError when only one is set, or no pair can be written.
    """
    if cert and key:
        return cert, key
    if cert or key:
        empty, other = ("TLS_KEY", "TLS_CERT") if cert else ("TLS_CERT", "TLS_KEY")
        raise TLSConfigurationError(
            f"{empty} is empty but {other} is set: set both (to one file if it holds both), or neither"
        )
    pair = fallback_dir / SELF_SIGNED
    try:
        if not _usable(pair, hostname):
            _make_once(pair, hostname)
    except OSError as error:
        raise TLSConfigurationError(
            f"TLS_CERT is empty, and {fallback_dir} cannot keep a self-signed one: {error.strerror or error}"
        ) from error
    return pair, pair


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load a pair, with an error that tells which setting is wrong and why."""

    def refuse_encrypted() -> str:
        # Without this OpenSSL would ask on the terminal, and a service would wait for ever.
        raise TLSConfigurationError(
            f"TLS_KEY: {key} is encrypted; a service needs a key without a pass phrase"
        )

    _readable("TLS_KEY", key)
    _certificate(cert)
    try:
        context.load_cert_chain(cert, key, password=refuse_encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TLSConfigurationError(
                f"TLS_KEY: {key} does not match the certificate {cert} of TLS_CERT"
            ) from error
        if error.reason and error.reason.startswith(("EE_", "CA_")):
            raise TLSConfigurationError(f"TLS_CERT: {cert} is too weak ({error.reason})") from error
        raise TLSConfigurationError(f"TLS_KEY: {key} holds no private key in PEM form") from error


def _readable(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TLSConfigurationError(f"{setting}: {path} does not exist") from None
    except OSError as error:
        raise TLSConfigurationError(f"{setting}: {path} cannot be read: {error.strerror}") from error


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_readable("TLS_CERT", path))[0]
    except TLSConfigurationError:
        raise
    except ValueError as error:
        raise TLSConfigurationError(f"TLS_CERT: {path} holds no certificate in PEM form") from error


def _usable(pair: Path, hostname: str) -> bool:
    """Tell whether a self-signed pair is there, whole, for this host name, and good for another week."""
    try:
        found = _certificate(pair)
        serialization.load_pem_private_key(pair.read_bytes(), password=None)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (TLSConfigurationError, ValueError, x509.ExtensionNotFound):
        return False
    return days_left(pair) >= REMAKE_WITHIN_DAYS and set(_names(hostname)) == set(names)


def _make_once(pair: Path, hostname: str) -> None:
    """Write the pair, unless another process did while this one waited for the lock.

    The lock is the kernel's (flock): a process that dies leaves none behind.
    """
    pair.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (pair.parent / f".{SELF_SIGNED}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _usable(pair, hostname):
            _write_private(pair, _self_signed(hostname))


def _write_private(path: Path, data: bytes) -> None:
    """Replace a file by one with mode 0600: whole or not at all, also after a power cut."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL, mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _names(hostname: str) -> list[x509.GeneralName]:
    """Return what a self-signed certificate is for: the host, and this machine under its usual names."""
    hostname = hostname or "localhost"
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ip_address(loopback)) for loopback in ("127.0.0.1", "::1")]
    try:
        own: x509.GeneralName = x509.IPAddress(ip_address(hostname))
    except ValueError:
        try:
            own = x509.DNSName(hostname.encode("idna").decode("ascii"))
        except ValueError as error:
            raise TLSConfigurationError(
                f"TLS_CERT is empty, and {hostname!r} is no host name for a self-signed certificate"
            ) from error
    return names if own in names else [own, *names]


def _self_signed(hostname: str) -> bytes:
    """Return a new certificate and its EC P-256 key as one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (hostname or "localhost")[:64])])
    start = datetime.now(UTC) - CLOCK_SKEW
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(_names(hostname)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private
