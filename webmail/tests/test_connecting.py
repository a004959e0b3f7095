"""Connecting a mail program: people and programs are told the same, and nobody is told who is here.

The formats: Thunderbird's reader (accountcreation/readFromXML), [MS-OXDSCLI], and Apple's
`com.apple.mail.managed` with its required keys.
"""

import plistlib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from django.test import Client

from mailboxes.models import Account, Mailbox
from webmail import autoconfiguration
from webmail.autoconfiguration import NotUnderstood, outlook_asks_for
from webmail.connection import Server

INCOMING = {"host": "pop.example.test", "port": 995, "security": "tls"}
OUTGOING = {"host": "smtp.example.test", "port": 587, "security": "starttls"}
OUTLOOK_NS = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
RESPONSE_NS = "{http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006}"
REQUEST = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
<Request><EMailAddress>{}</EMailAddress>
<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
</Request></Autodiscover>"""
THUNDERBIRD = ["/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml"]
OUTLOOK = ["/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def servers(settings: Any) -> None:
    settings.POP3_FOR_PROGRAMS = INCOMING
    settings.SMTP_FOR_PROGRAMS = OUTGOING


def asked_by_outlook(client: Client, address: str, path: str = OUTLOOK[0]) -> Any:
    return client.post(path, REQUEST.format(address), content_type="text/xml")


# -- Thunderbird --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", THUNDERBIRD)
def test_thunderbird_gets_what_it_reads(client: Client, path: str) -> None:
    answer = client.get(path, {"emailaddress": "ann@example.test"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/xml; charset=utf-8")
    root = ElementTree.fromstring(answer.content)
    assert (root.tag, root.attrib) == ("clientConfig", {"version": "1.1"})
    [provider] = root
    assert (provider.tag, provider.attrib) == ("emailProvider", {"id": "example.test"})
    assert provider.findtext("domain") == "example.test"
    assert provider.findtext("displayName") and provider.findtext("displayShortName")
    found = {
        (one.tag, one.attrib["type"]): {part.tag: part.text for part in one} for one in provider if one.attrib
    }
    common = {"authentication": "password-cleartext", "username": "%EMAILADDRESS%"}
    assert found == {
        ("incomingServer", "pop3"): {"hostname": "pop.example.test", "port": "995", "socketType": "SSL"}
        | common,
        ("outgoingServer", "smtp"): {"hostname": "smtp.example.test", "port": "587", "socketType": "STARTTLS"}
        | common,
    }


def test_without_a_server_for_sending_thunderbird_would_take_no_file_and_gets_none(
    client: Client, settings: Any
) -> None:
    settings.SMTP_FOR_PROGRAMS = OUTGOING | {"host": ""}
    assert [client.get(path).status_code for path in THUNDERBIRD] == [404, 404]


# -- Outlook ------------------------------------------------------------------------------------


def protocols(answer: Any) -> dict[str, dict[str, str]]:
    root = ElementTree.fromstring(answer.content)
    assert root.tag == f"{RESPONSE_NS}Autodiscover"
    account = root.find(f"{OUTLOOK_NS}Response/{OUTLOOK_NS}Account")
    assert account is not None
    assert account.findtext(f"{OUTLOOK_NS}AccountType") == "email"
    assert account.findtext(f"{OUTLOOK_NS}Action") == "settings"
    found = [
        {part.tag.removeprefix(OUTLOOK_NS): part.text or "" for part in one}
        for one in account.findall(f"{OUTLOOK_NS}Protocol")
    ]
    return {one.pop("Type"): one for one in found}


@pytest.mark.parametrize("path", OUTLOOK)
def test_outlook_gets_what_it_reads(client: Client, path: str) -> None:
    common = {"LoginName": "ann@example.test", "DomainRequired": "off", "SPA": "off", "AuthRequired": "on"}
    assert protocols(asked_by_outlook(client, "ann@example.test", path)) == {
        "POP3": {"Server": "pop.example.test", "Port": "995", "SSL": "on", "Encryption": "SSL"} | common,
        "SMTP": {"Server": "smtp.example.test", "Port": "587", "SSL": "off", "Encryption": "TLS"}
        | {"UsePOPAuth": "on", "SMTPLast": "off"}
        | common,
    }


def test_without_a_server_for_sending_outlook_gets_the_other(client: Client, settings: Any) -> None:
    settings.SMTP_FOR_PROGRAMS = OUTGOING | {"host": ""}
    assert list(protocols(asked_by_outlook(client, "ann@example.test"))) == ["POP3"]


def test_outlook_needs_no_token_of_ours() -> None:
    assert asked_by_outlook(Client(enforce_csrf_checks=True), "ann@example.test").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"<a>",
        REQUEST.format("").encode(),
        REQUEST.format("no address").encode(),
        REQUEST.format("a@" + "x" * 400).encode(),
        REQUEST.format("ann@exa&lt;mple.test").encode(),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a><EMailAddress>ann@example.test</EMailAddress></a>',
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><EMailAddress>&e;@example.test</EMailAddress></a>',
        b'<!DOCTYPE a [<!ENTITY l "o"><!ENTITY m "&l;&l;">]><a><EMailAddress>&m;@x.test</EMailAddress></a>',
        b"<a>" * 2_000,
        b"<EMailAddress>" + b"a" * 9_000 + b"@example.test</EMailAddress>",
        "<a><EMailAddress>ann@example.test</EMailAddress></a>".encode("utf-32"),
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_request_is_answered_as_one_that_is_invalid(client: Client, body: bytes) -> None:
    answer = client.post(OUTLOOK[0], body, content_type="text/xml")
    root = ElementTree.fromstring(answer.content)
    code = root.findtext(f"{RESPONSE_NS}Response/{RESPONSE_NS}Error/{RESPONSE_NS}ErrorCode")
    assert (answer.status_code, code) == (200, "600")
    assert b"root:" not in answer.content


def test_outlook_spells_the_element_in_its_own_way() -> None:
    """[MS-OXDSCLI] writes EMailAddress; some clients write EmailAddress."""
    for name in ("EMailAddress", "EmailAddress"):
        assert outlook_asks_for(f"<a><{name}> ann@example.test </{name}></a>".encode()) == "ann@example.test"
    with pytest.raises(NotUnderstood):
        outlook_asks_for(b"<a><Address>ann@example.test</Address></a>")


# -- who is here --------------------------------------------------------------------------------


def test_nobody_learns_who_is_here(ann: Account, client: Client) -> None:
    """What is answered for an address is the same whether or not it exists, but for the address itself."""
    addresses = ["ann@example.test", "nobody@example.test", "ann@elsewhere.test"]
    outlook, thunderbird = [], []
    for address in addresses:
        outlook.append(asked_by_outlook(client, address).content.replace(address.encode(), b"x"))
        domain = address.partition("@")[2].encode()
        answer = client.get(THUNDERBIRD[0], {"emailaddress": address})
        thunderbird.append(answer.content.replace(b">" + domain, b">x").replace(b'"' + domain, b'"x'))
    assert len(set(outlook)) == len(set(thunderbird)) == 1


def test_asking_costs_no_query(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        asked_by_outlook(client, "ann@example.test")
        client.get(THUNDERBIRD[0], {"emailaddress": "ann@example.test"})


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ann@Example.test", "example.test"),
        ("ann@bücher.test", "bücher.test"),
        ("", ""),
        ("ann", ""),
        ("@example.test", ""),
        ("ann@<script>", ""),
        ('ann@x"y', ""),
        ("ann@" + "x" * 400, ""),
    ],
)
def test_only_a_domain_is_taken_from_an_address(address: str, domain: str) -> None:
    assert autoconfiguration.domain_of(address) == domain


# -- Apple --------------------------------------------------------------------------------------


def test_apple_s_profile_has_what_it_must_and_no_password(ann: Account, browser_of_ann: Client) -> None:
    answer = browser_of_ann.get("/mail/account/programs/mail.mobileconfig")
    assert answer["Content-Type"] == "application/x-apple-aspen-config"
    assert answer["Cache-Control"] == "private, no-store"
    profile = plistlib.loads(answer.content)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    [mail] = profile["PayloadContent"]
    assert mail["PayloadType"] == "com.apple.mail.managed"
    assert {"PayloadIdentifier", "PayloadUUID", "PayloadVersion"} <= mail.keys() & profile.keys()
    assert mail["PayloadUUID"] != profile["PayloadUUID"]
    wanted = {
        "EmailAccountType": "EmailTypePOP",
        "EmailAddress": "ann@example.test",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": "pop.example.test",
        "IncomingMailServerPortNumber": 995,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": "ann@example.test",
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": "smtp.example.test",
        "OutgoingMailServerPortNumber": 587,
        "OutgoingMailServerUseSSL": True,
    }
    assert {name: mail[name] for name in wanted} == wanted
    assert not {"IncomingPassword", "OutgoingPassword"} & mail.keys()


def test_installing_the_profile_again_replaces_it() -> None:
    servers = Server("pop.example.test", 995, "tls"), Server("smtp.example.test", 587, "starttls")
    once, again = (autoconfiguration.apple("ann@example.test", "Ann", *servers) for _ in range(2))
    assert once == again != autoconfiguration.apple("bob@example.test", "Bob", *servers)


def test_there_is_no_profile_without_sending_or_with_programs_switched_off(
    ann: Account, browser_of_ann: Client, settings: Any, client: Client
) -> None:
    path = "/mail/account/programs/mail.mobileconfig"
    assert client.get(path).status_code == 302, "nobody has logged in"
    Mailbox.objects.update(pop3_enabled=False)
    assert browser_of_ann.get(path).status_code == 404
    Mailbox.objects.update(pop3_enabled=True)
    settings.SMTP_FOR_PROGRAMS = OUTGOING | {"host": ""}
    assert browser_of_ann.get(path).status_code == 404


# -- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_people_and_programs_are_told_the_same(
    browser_of_ann: Client, settings: Any, security: str, logged_in: Callable[..., Client]
) -> None:
    settings.POP3_FOR_PROGRAMS = {"host": "other.example.test", "port": 4711, "security": security}
    page = browser_of_ann.get("/mail/account/programs/").content.decode()
    thunderbird = browser_of_ann.get(THUNDERBIRD[0]).content.decode()
    outlook = asked_by_outlook(browser_of_ann, "ann@example.test").content.decode()
    profile = browser_of_ann.get("/mail/account/programs/mail.mobileconfig").content.decode()
    for told in (page, thunderbird, outlook, profile):
        assert "other.example.test" in told and "4711" in told
    names = {
        "tls": ("SSL/TLS", "<socketType>SSL", "<Encryption>SSL", "<true/>"),
        "starttls": ("STARTTLS", "<socketType>STARTTLS", "<Encryption>TLS", "<true/>"),
        "none": ("none", "<socketType>plain", "<Encryption>None", "<false/>"),
    }[security]
    assert all(name in told for name, told in zip(names, (page, thunderbird, outlook, profile), strict=True))
