"""A domain, two accounts with some mail, and an operator, so that a fresh installation is not empty.

Running it again changes nothing: accounts that are there stay, and sample mail that came once (the ledger of
imports knows) does not come again, even if it was deleted since.
"""

import os
from collections.abc import Callable
from email.policy import SMTP
from pathlib import Path

from django.conf import settings
from django.db import transaction

from mailboxes.accounts import create_domain, generate_password, open_account
from mailboxes.addresses import resolve
from mailboxes.content import facts_of
from mailboxes.delivery import Arrival, deliver
from mailboxes.demo_mail import DOMAIN, NAMES, Sample, samples_for
from mailboxes.flags import Flag, set_flag
from mailboxes.folders import create_folder
from mailboxes.local_delivery import spool_message
from mailboxes.messages import imported, move
from mailboxes.models import Account, Domain, Folder, FolderKind, ImportedMessage, Mailbox, Message, Role
from mailboxes.storage import new_key
from mailboxes.trace import trace_headers

DOOR = "demo"
OPERATOR = f"operator@{DOMAIN}"


Tell = Callable[[str], object]


def make_demo(tell: Tell) -> None:
    """Make what is missing of the demo, and say what was made and the passwords."""
    if Domain.objects.filter(name=DOMAIN).exists():
        tell(f"the domain {DOMAIN} is there already")
    else:
        create_domain(DOMAIN, actor=DOOR)
        tell(f"the domain {DOMAIN} is served")
    passwords = read_passwords()
    for login in NAMES:
        _make_account(login, passwords, tell, name=NAMES[login])
    _make_account(OPERATOR, passwords, tell, name="Olga Operator", role=Role.OPERATOR)
    for login in NAMES:
        came = _deliver_samples(login)
        tell(f"{came} sample messages came for {login}" if came else f"{login} has had its sample mail")
    for login in [*NAMES, OPERATOR]:
        tell(f"{login} {passwords.get(login, '(password chosen by somebody else: not known here)')}")


def passwords_file() -> Path:
    return Path(settings.VAR) / "demo-passwords.txt"


def read_passwords() -> dict[str, str]:
    """Password by login, as a demo before has written them down."""
    try:
        lines = passwords_file().read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {login: password for login, _, password in (line.partition(" ") for line in lines) if password}


def _make_account(
    login: str, passwords: dict[str, str], tell: Tell, *, name: str, role: Role = Role.SUBSCRIBER
) -> None:
    if Account.objects.filter(login=login).exists():
        tell(f"the account {login} is there already")
        return
    # Written down first: an account whose password nobody knows would be no use.
    if login not in passwords:
        passwords[login] = generate_password()
        _write_passwords(passwords)
    open_account(login, passwords[login], name=name, role=role, actor=DOOR)
    tell(f"the account {login} is open")


def _write_passwords(passwords: dict[str, str]) -> None:
    """Whole or not at all, and readable by its owner only from the first moment."""
    path = passwords_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.writelines(f"{login} {password}\n" for login, password in passwords.items())
    new.replace(path)


def _deliver_samples(login: str) -> int:
    mailbox = Mailbox.objects.get(account__login=login)
    samples = {f"demo:{sample.message['Message-ID']}": sample for sample in samples_for(login)}
    came = imported(mailbox.pk, list(samples))
    new = {name: sample for name, sample in samples.items() if name not in came}
    arrivals = [_arrival(login, sample) for sample in new.values()]
    with transaction.atomic():
        for [outcome] in deliver(arrivals) if arrivals else ():
            if outcome is not None:
                raise outcome
        ImportedMessage.objects.bulk_create(
            [
                ImportedMessage(mailbox=mailbox, fingerprint=name, uidl=arrival.uidl)
                for name, arrival in zip(new, arrivals, strict=True)
            ]
        )
        for sample, arrival in zip(new.values(), arrivals, strict=True):
            _arrange(mailbox.pk, sample, arrival.uidl)
    return len(new)


def _arrange(mailbox: int, sample: Sample, uidl: str) -> None:
    """What is starred or lies in a folder of one's own is so by the verbs by which a reader does it."""
    if not (sample.starred or sample.own_folder):
        return
    message = Message.objects.get(mailbox=mailbox, uidl=uidl)
    if sample.starred:
        set_flag(mailbox, [message.pk], Flag.STARRED, True)
    if sample.own_folder:
        own = Folder.objects.filter(mailbox=mailbox, kind=FolderKind.OWN, name=sample.own_folder).first()
        move(mailbox, [message.pk], own or create_folder(mailbox, sample.own_folder))


def _arrival(login: str, sample: Sample) -> Arrival:
    message = sample.message
    transaction_id = new_key().hex
    sender = message["From"].addresses[0].addr_spec
    trace = trace_headers(
        sender=sender,
        helo="",
        peer="",
        hostname=settings.HOSTNAME,
        protocol="local",
        transaction=transaction_id,
        at=sample.at,
    )
    spool, octets = spool_message([message.as_bytes(policy=SMTP)], trace)
    facts, wire_octets = facts_of(spool.head), spool.wire_octets
    return Arrival(
        key=spool.keep(),
        octets=octets,
        wire_octets=wire_octets,
        routes=[resolve(login)],
        sender=sender,
        facts=facts,
        door=DOOR,
        transaction=transaction_id,
        received_at=sample.at,
        uidl=new_key().hex,
        seen=sample.seen,
        folder=sample.folder,
    )
