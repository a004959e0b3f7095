"""The console's cast: everybody who may or may not come in, each with a browser of their own."""

# What needs Django's apps is imported where it is used: this file is read before they are set up.

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from conftest import PASSWORD

if TYPE_CHECKING:
    from mailboxes.models import Account, Domain

Enter = Callable[["Account"], Client]


@pytest.fixture(autouse=True)
def console_without_second_factor(settings: Any) -> None:
    """`test_entrance.py` is about the second factor, and the others are about the console behind it."""
    settings.CONSOLE_SECOND_FACTOR = "optional"


@pytest.fixture
def enter() -> Enter:
    """A browser in which somebody is logged in."""

    from mailboxes import web_sessions
    from webmail import sessions

    def make(account: "Account") -> Client:
        client = Client()
        client.force_login(account)
        session = client.session
        name = web_sessions.begin(account.pk, account.login, peer="127.0.0.1", program="a test")
        sessions.sign(session, account, name)
        session.save()
        return client

    return make


@pytest.fixture
def other_domain(db: None) -> "Domain":
    """A domain of another customer."""
    from mailboxes import accounts

    return accounts.create_domain("other.test", default_quota=1_000_000)


@pytest.fixture
def administrator(open_account: "Callable[..., Account]") -> "Account":
    """The administrator of example.test."""
    return open_account("boss", role="domain_administrator")


@pytest.fixture
def stranger(
    other_domain: "Domain", domain: "Domain", encoded_password: str, monkeypatch: pytest.MonkeyPatch
) -> "Account":
    """The administrator of another domain."""
    from mailboxes import accounts

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "make_password", lambda _: encoded_password)
        return accounts.open_account("boss@other.test", PASSWORD, role="domain_administrator")


@pytest.fixture
def desk(enter: Enter, operator: "Account") -> Client:
    """The operator's browser."""
    return enter(operator)


@pytest.fixture
def page(desk: Client) -> Callable[..., str]:
    """The text of a page as the operator sees it, with its spaces made one."""

    def read(path: str, client: Client | None = None, **query: Any) -> str:
        response = (client or desk).get(path, query)
        assert response.status_code == 200, path
        return " ".join(response.content.decode().split())

    return read
