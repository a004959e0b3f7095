"""Dovecot beside us: as Debian ships it, and tuned, as processes of the bench's own on loopback ports."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher

from bench.server import (
    BIG,
    BIG_COUNT,
    BIG_OCTETS,
    HUGE,
    PASSWORD,
    SMALL,
    SMALL_COUNT,
    SMALL_OCTETS,
    USERS,
    Server,
    free_ports,
    message,
    running,
    user,
)

PACKAGES = ("dovecot-pop3d", "dovecot-lmtpd")
# The owner of all mail: any number that is nobody's.
MAIL_UID = 5000

# What both have: folders and ports of their own, the same users, one Maildir each. mail_fsync stays as it is.
COMMON = """
protocols = pop3 lmtp
listen = 127.0.0.1
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
ssl = yes
ssl_cert = <{root}/cert.pem
ssl_key = <{root}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:~/Maildir
mail_uid = {uid}
mail_gid = {uid}
passdb {{
  driver = passwd-file
  args = username_format=%u {root}/users
}}
userdb {{
  driver = static
  args = home={root}/mail/%u allow_all_users=yes
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
"""

# High-performance login processes and pop3 processes that serve many, as Dovecot's own manual says.
TUNED = """
auth_cache_size = 10 M
mail_max_userip_connections = 100000
service pop3-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 20000
}
service pop3 {
  service_count = 1000
  client_limit = 50
}
service lmtp {
  process_min_avail = 8
}
service auth {
  client_limit = 30000
}
service anvil {
  client_limit = 30000
}
"""


def install() -> bool:
    """Find Dovecot, or install it where that is possible; False when there is none."""
    if shutil.which("dovecot", path=_path()) and Path("/usr/lib/dovecot/lmtp").exists():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    # Its services are the bench's own; the packages shall start none.
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", *command], env=quiet, stdout=subprocess.DEVNULL, check=False)
    return shutil.which("dovecot", path=_path()) is not None


def version() -> str:
    output = subprocess.run([_program("dovecot"), "--version"], capture_output=True, text=True, check=True)
    return output.stdout.split()[0]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def _program(name: str) -> str:
    return shutil.which(name, path=_path()) or name


def prepare(root: Path, *, huge: int) -> None:
    """The mail that both configurations serve: Maildirs, filled as Dovecot itself names the files."""
    root.chmod(0o711)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-keyout", "key.pem", "-out", "cert.pem", "-days", "30", "-subj", "/CN=localhost"),
        ],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (root / "mail").mkdir()
    for number in range(USERS):
        _maildir(root, number)
    for number in SMALL:
        _fill(root, number, SMALL_COUNT, SMALL_OCTETS)
    for number in BIG:
        _fill(root, number, BIG_COUNT, BIG_OCTETS)
    _fill(root, HUGE, huge, 1_000)
    for folder, folders, files in os.walk(root / "mail"):
        for name in (".", *folders, *files):
            os.chown(Path(folder, name), MAIL_UID, MAIL_UID)


def _maildir(root: Path, number: int) -> Path:
    maildir = root / "mail" / user(number) / "Maildir"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    return maildir


def _fill(root: Path, number: int, count: int, octets: int) -> None:
    folder = root / "mail" / user(number) / "Maildir" / "cur"
    octets_of_it = message(number, octets)
    moment = int(time.time()) - count
    for index in range(count):
        name = f"{moment + index}.M{index}P1.bench,S={octets},W={octets}:2,"
        (folder / name).write_bytes(octets_of_it)


def password_line(scheme: str) -> str:
    """How `scheme` keeps the password that everybody here has."""
    if scheme == "PLAIN":
        return "{PLAIN}" + PASSWORD
    if scheme == "ARGON2ID":  # with the parameters that we have ourselves
        hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        return "{ARGON2ID}" + hasher.hash(PASSWORD)
    output = subprocess.run(
        [_program("doveadm"), "pw", "-s", scheme, "-p", PASSWORD], capture_output=True, text=True, check=True
    )
    return output.stdout.strip()


@contextmanager
def served(root: Path, *, tuned: bool, scheme: str = "") -> Iterator[Server]:
    """Dovecot over the mail that `prepare` made."""
    pop3, pop3s, lmtp = free_ports(3)
    name = "tuned" if tuned else "shipped"
    place = root / f"{name}-{pop3}"
    for folder in ("run", "state"):
        (place / folder).mkdir(parents=True)
    place.chmod(0o755)
    for link in ("cert.pem", "key.pem", "mail"):
        (place / link).symlink_to(root / link)
    encoded = password_line(scheme or ("PLAIN" if tuned else "SHA512-CRYPT"))
    (place / "users").write_text("".join(f"{user(number)}:{encoded}\n" for number in range(USERS)))
    (place / "users").chmod(0o644)
    text = COMMON.format(root=place, uid=MAIL_UID, pop3=pop3, pop3s=pop3s, lmtp=lmtp)
    (place / "dovecot.conf").write_text(text + (TUNED if tuned else ""))
    process = subprocess.Popen(
        [_program("dovecot"), "-F", "-c", place / "dovecot.conf"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with running(Server(f"Dovecot {name}", pop3, pop3s, lmtp, [process])) as server:
        yield server
