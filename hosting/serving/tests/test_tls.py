"""TLS contexts: what they accept, the certificate made here, and what is wrong with the operator's."""

import ssl
import stat
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hosting.serving import tls
from hosting.serving.tls import TLSConfigurationError, days_left, reload_context, server_context

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[3]
HOST = "pop.example.test"


def self_signed_context(folder: Path) -> ssl.SSLContext:
    return server_context(None, None, folder, HOST, ["pop3"])


def trusting(*authorities: Path) -> ssl.SSLContext:
    client = ssl.create_default_context()
    client.load_verify_locations(
        cadata="".join(path.read_text().split("-----BEGIN PRIV")[0] for path in authorities)
    )
    return client


def careless() -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return client


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = HOST) -> ssl.SSLObject:
    """Run a handshake in memory and return the client's end; raises what either end raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(20):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
        if not waiting:
            return ends[0]
    raise AssertionError("the handshake does not end")


def serial(end: ssl.SSLObject) -> int:
    certificate = end.getpeercert(binary_form=True)
    assert certificate
    return x509.load_der_x509_certificate(certificate).serial_number


def first_serial(cert: Path) -> int:
    return x509.load_pem_x509_certificates(cert.read_bytes())[0].serial_number


def pair(folder: Path, name: str, *, expires: datetime | None = None, rsa: bool = False) -> tuple[Path, Path]:
    """Write an operator's certificate and key, and return their paths."""
    kind = trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA
    leaf = trustme.CA(key_type=kind).issue_cert(HOST, key_type=kind, not_after=expires)
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return cert, key


def refusal(cert: Path | None, key: Path | None, folder: Path, hostname: str = HOST) -> str:
    with pytest.raises(TLSConfigurationError) as caught:
        server_context(cert, key, folder, hostname, [])
    return str(caught.value)


def test_tls_1_2_and_1_3_are_accepted_and_alpn_is_agreed(tmp_path: Path) -> None:
    server = self_signed_context(tmp_path)
    for version, label in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        client = trusting(tmp_path / tls.SELF_SIGNED)
        client.set_alpn_protocols(["imap", "pop3"])
        client.minimum_version = client.maximum_version = version
        end = shake_hands(server, client)
        assert (end.version(), end.selected_alpn_protocol()) == (label, "pop3")


def test_tls_1_1_is_refused(tmp_path: Path) -> None:
    server = self_signed_context(tmp_path)
    server.set_ciphers("ALL:@SECLEVEL=0")  # so that the version alone decides
    client = careless()
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError) as caught:
        shake_hands(server, client)
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"


def test_the_server_chooses_the_cipher(tmp_path: Path) -> None:
    server = self_signed_context(tmp_path)
    client = careless()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    cipher = shake_hands(server, client).cipher()
    assert cipher is not None and cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_compression_and_renegotiation_are_off(tmp_path: Path) -> None:
    options = self_signed_context(tmp_path).options
    assert options & ssl.OP_NO_COMPRESSION
    assert options & ssl.OP_NO_RENEGOTIATION


def test_the_self_signed_pair_is_for_the_host_and_this_machine(tmp_path: Path) -> None:
    server = self_signed_context(tmp_path / "var" / "tls")
    made = tmp_path / "var" / "tls" / tls.SELF_SIGNED
    for name in (HOST, "localhost", "127.0.0.1", "::1"):
        shake_hands(server, trusting(made), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, trusting(made), "other.example.test")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert days_left(made) == 824


def test_the_self_signed_pair_is_kept_while_it_is_good(tmp_path: Path) -> None:
    self_signed_context(tmp_path)
    before = (tmp_path / tls.SELF_SIGNED).read_bytes()
    self_signed_context(tmp_path)
    assert (tmp_path / tls.SELF_SIGNED).read_bytes() == before


@pytest.mark.parametrize(("valid_days", "renewed"), [(6, True), (8, False), (-1, True)])
def test_the_self_signed_pair_is_renewed_within_a_week_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid_days: int, renewed: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tls, "VALID_FOR", timedelta(days=valid_days, hours=2))
        if valid_days < 0:
            patch.setattr(tls, "CLOCK_SKEW", timedelta(days=3))
            patch.setattr(tls, "VALID_FOR", timedelta(days=1))
        (tmp_path / tls.SELF_SIGNED).write_bytes(tls._self_signed(HOST))
    before = (tmp_path / tls.SELF_SIGNED).read_bytes()
    self_signed_context(tmp_path)
    assert ((tmp_path / tls.SELF_SIGNED).read_bytes() != before) is renewed
    assert days_left(tmp_path / tls.SELF_SIGNED) == (824 if renewed else valid_days)


@pytest.mark.parametrize("damage", ["empty", "no key", "other host"])
def test_a_damaged_or_foreign_self_signed_pair_is_made_again(tmp_path: Path, damage: str) -> None:
    made = tmp_path / tls.SELF_SIGNED
    self_signed_context(tmp_path)
    if damage == "empty":
        made.write_bytes(b"")
    elif damage == "no key":
        made.write_text(made.read_text().split("-----BEGIN PRIV")[0])
    else:
        made.write_bytes(tls._self_signed("other.example.test"))
    server = self_signed_context(tmp_path)
    shake_hands(server, trusting(made))


@pytest.mark.parametrize(
    "hostname", ["", "localhost", "192.0.2.1", "::1", "post.exämple.test", "a" * 63 + ".test"]
)
def test_a_self_signed_pair_can_be_made_for_any_host_name(tmp_path: Path, hostname: str) -> None:
    server = server_context(None, None, tmp_path, hostname, [])
    shake_hands(server, trusting(tmp_path / tls.SELF_SIGNED), hostname or "localhost")


def test_four_processes_at_the_same_moment_end_with_one_pair(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from hosting.serving.tls import *; from cryptography import x509\n"
        "folder = pathlib.Path(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "server_context(None, None, folder, 'pop.example.test', [])\n"
        "print(x509.load_pem_x509_certificate((folder / SELF_SIGNED).read_bytes()).serial_number)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    serials = {process.communicate(timeout=180)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    made = tmp_path / tls.SELF_SIGNED
    assert serials == {f"{first_serial(made)}\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{tls.SELF_SIGNED}.lock", tls.SELF_SIGNED]
    shake_hands(self_signed_context(tmp_path), trusting(made))


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.pem"
    target.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tls._write_private(target, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.pem", b"old")]


def test_a_folder_that_cannot_keep_a_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = refusal(None, None, tmp_path / "file")
    assert text == f"TLS_CERT is empty, and {tmp_path / 'file'} cannot keep a self-signed one: File exists"


def test_a_host_name_that_no_certificate_can_have_is_named(tmp_path: Path) -> None:
    text = refusal(None, None, tmp_path, "a" * 64 + ".test")
    assert text.startswith(f"TLS_CERT is empty, and '{'a' * 64}.test' is no host name")


def test_one_setting_without_the_other_is_refused(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "a")
    assert refusal(cert, None, tmp_path).startswith("TLS_KEY is empty but TLS_CERT is set: ")
    assert refusal(None, key, tmp_path).startswith("TLS_CERT is empty but TLS_KEY is set: ")


def test_files_that_cannot_be_used_are_named_with_their_setting(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "a")
    _, other_key = pair(tmp_path, "b")
    gone, junk, folder = tmp_path / "gone.pem", tmp_path / "junk.pem", tmp_path
    junk.write_text("junk")
    assert refusal(gone, key, tmp_path) == f"TLS_CERT: {gone} does not exist"
    assert refusal(cert, gone, tmp_path) == f"TLS_KEY: {gone} does not exist"
    assert refusal(folder, key, tmp_path) == f"TLS_CERT: {folder} cannot be read: Is a directory"
    assert refusal(cert, folder, tmp_path) == f"TLS_KEY: {folder} cannot be read: Is a directory"
    assert refusal(junk, key, tmp_path) == f"TLS_CERT: {junk} holds no certificate in PEM form"
    assert refusal(cert, junk, tmp_path) == f"TLS_KEY: {junk} holds no private key in PEM form"
    assert (
        refusal(cert, other_key, tmp_path)
        == f"TLS_KEY: {other_key} does not match the certificate {cert} of TLS_CERT"
    )


def test_an_encrypted_key_is_refused_without_asking_for_its_pass_phrase(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "a")
    loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert (
        refusal(cert, key, tmp_path)
        == f"TLS_KEY: {key} is encrypted; a service needs a key without a pass phrase"
    )


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "a")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    assert serial(shake_hands(server_context(both, both, tmp_path, HOST, []), careless())) == first_serial(
        cert
    )


@pytest.mark.parametrize("name", [HOST, None])
def test_a_reloaded_context_presents_the_new_certificate_also_of_another_key_type(
    tmp_path: Path, name: str | None
) -> None:
    old, new = pair(tmp_path, "old", rsa=True), pair(tmp_path, "new")
    server = server_context(*old, tmp_path, HOST, ["pop3"])
    client = careless()
    client.set_alpn_protocols(["pop3"])
    before = serial(shake_hands(server, client, name))
    for path, newer in zip(old, new, strict=True):
        newer.replace(path)
    assert serial(shake_hands(server, client, name)) == before
    reload_context(server, *old, tmp_path, HOST, ["pop3"])
    end = shake_hands(server, client, name)
    assert (serial(end), end.selected_alpn_protocol()) == (first_serial(old[0]), "pop3")
    rsa_only = careless()
    rsa_only.maximum_version = ssl.TLSVersion.TLSv1_2
    rsa_only.set_ciphers("aRSA")
    with pytest.raises(ssl.SSLError):  # the old RSA certificate is gone
        shake_hands(server, rsa_only, name)


def test_a_failed_reload_leaves_the_context_as_it_is(tmp_path: Path) -> None:
    cert, key = pair(tmp_path, "a")
    server = server_context(cert, key, tmp_path, HOST, [])
    before = serial(shake_hands(server, careless()))
    pair(tmp_path, "b")[1].replace(key)
    with pytest.raises(TLSConfigurationError, match="does not match"):
        reload_context(server, cert, key, tmp_path, HOST, [])
    assert serial(shake_hands(server, careless())) == before


def test_days_left_counts_whole_days_and_below_zero(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert days_left(pair(tmp_path, "a", expires=now + timedelta(days=3, hours=1))[0]) == 3
    expired = trustme.CA().issue_cert(
        HOST, not_before=now - timedelta(days=9), not_after=now - timedelta(days=2, hours=1)
    )
    expired.cert_chain_pems[0].write_to_path(tmp_path / "old.crt")
    assert days_left(tmp_path / "old.crt") == -3
    with pytest.raises(TLSConfigurationError, match=r"gone\.pem does not exist"):
        days_left(tmp_path / "gone.pem")
