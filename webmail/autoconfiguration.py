"""What mail programs ask by themselves: Thunderbird's autoconfig, Outlook's Autodiscover, Apple's profile.

Pure. What is answered depends on nothing but the settings and what was asked; whether there is such an
address, or such a domain, is told to nobody.
"""

import plistlib
import uuid
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.parsers import expat

from webmail.connection import Server

# RFC 5321 section 4.5.3.1: 64 octets, the '@', 255.
ADDRESS_MAX = 320
# Outlook's request has some 400 octets.
REQUEST_MAX = 8 * 1024
SOCKET_TYPES = {"tls": "SSL", "starttls": "STARTTLS", "none": "plain"}
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
OUTLOOK_RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"


class NotUnderstood(Exception):
    """The request is not what Outlook sends."""


def domain_of(address: str) -> str:
    """The domain of an address as it was asked for, '' if it is none: made fit for an answer, not judged."""
    local, at, domain = address.strip().rpartition("@")
    fine = at and local and len(address) <= ADDRESS_MAX and all(c.isalnum() or c in ".-" for c in domain)
    return domain.lower() if fine else ""


# -- Thunderbird --------------------------------------------------------------------------------


def thunderbird(domain: str, incoming: Server, outgoing: Server) -> bytes:
    """config-v1.1.xml. Thunderbird takes no file without an outgoing server (readFromXML)."""
    config = Element("clientConfig", version="1.1")
    provider = SubElement(config, "emailProvider", id=domain or incoming.host)
    _text(provider, "domain", domain or incoming.host)
    _text(provider, "displayName", domain or incoming.host)
    _text(provider, "displayShortName", domain or incoming.host)
    for name, kind, server in (("incomingServer", "pop3", incoming), ("outgoingServer", "smtp", outgoing)):
        found = SubElement(provider, name, type=kind)
        _text(found, "hostname", server.host)
        _text(found, "port", str(server.port))
        _text(found, "socketType", SOCKET_TYPES[server.security])
        _text(found, "authentication", "password-cleartext")
        _text(found, "username", "%EMAILADDRESS%")
    return _document(config)


# -- Outlook ------------------------------------------------------------------------------------


def outlook_asks_for(body: bytes) -> str:
    """The address in an Autodiscover request. NotUnderstood.

    Expat alone, so that nothing is looked up or expanded: a document type is refused before an entity can be
    declared in it.
    """
    if len(body) > REQUEST_MAX:
        raise NotUnderstood
    reader = _Request()
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, ValueError, UnicodeError):
        raise NotUnderstood from None
    address = "".join(reader.address).strip()
    if not domain_of(address):
        raise NotUnderstood
    return address


class _Request:
    """Reads one element: what comes first under the name EMailAddress."""

    def __init__(self) -> None:
        self.address: list[str] = []
        self.inside = self.done = False
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _begin(self, name: str, attributes: object) -> None:
        self.inside = name.rpartition(" ")[2].lower() == "emailaddress" and not self.done

    def _end(self, name: str) -> None:
        self.done = self.done or self.inside
        self.inside = False

    def _data(self, data: str) -> None:
        if self.inside:
            self.address.append(data)

    def _refuse(self, *_: object) -> None:
        raise ValueError("a document type")


def outlook(address: str, incoming: Server, outgoing: Server | None) -> bytes:
    """Autodiscover's answer ("plain old XML", [MS-OXDSCLI] section 2.2.4)."""
    root = Element("Autodiscover", xmlns=OUTLOOK_RESPONSE)
    response = SubElement(root, "Response", xmlns=OUTLOOK)
    account = SubElement(response, "Account")
    _text(account, "AccountType", "email")
    _text(account, "Action", "settings")
    for kind, server in (("POP3", incoming), ("SMTP", outgoing)):
        if server is None:
            continue
        protocol = SubElement(account, "Protocol")
        _text(protocol, "Type", kind)
        _text(protocol, "Server", server.host)
        _text(protocol, "Port", str(server.port))
        _text(protocol, "DomainRequired", "off")
        _text(protocol, "LoginName", address)
        _text(protocol, "SPA", "off")
        _text(protocol, "SSL", "on" if server.security == "tls" else "off")
        _text(protocol, "Encryption", {"tls": "SSL", "starttls": "TLS", "none": "None"}[server.security])
        _text(protocol, "AuthRequired", "on")
        if kind == "SMTP":
            _text(protocol, "UsePOPAuth", "on")
            _text(protocol, "SMTPLast", "off")
    return _document(root)


def outlook_error(moment: str) -> bytes:
    """What is said to a request that is not understood: error 600, 'Invalid Request'."""
    root = Element("Autodiscover", xmlns=OUTLOOK_RESPONSE)
    response = SubElement(root, "Response")
    error = SubElement(response, "Error", Time=moment, Id="1")
    _text(error, "ErrorCode", "600")
    _text(error, "Message", "Invalid Request")
    SubElement(error, "DebugData")
    return _document(root)


# -- Apple --------------------------------------------------------------------------------------


def apple(login: str, name: str, incoming: Server, outgoing: Server) -> bytes:
    """A configuration profile (com.apple.mail.managed) without a password, for which the device asks.

    Its identifiers are made of login and servers, so that installing it again replaces the account.
    """
    identifier = ".".join(reversed(incoming.host.split("."))) + ".restante"
    unique: Callable[[str], str] = lambda what: str(  # noqa: E731
        uuid.uuid5(uuid.NAMESPACE_URL, f"{what}:{incoming.host}:{login}")
    ).upper()
    mail = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.mail.{unique('mail')}",
        "PayloadUUID": unique("mail"),
        "PayloadDisplayName": login,
        "EmailAccountDescription": login,
        "EmailAccountName": name,
        "EmailAccountType": "EmailTypePOP",
        "EmailAddress": login,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": incoming.host,
        "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": incoming.security != "none",
        "IncomingMailServerUsername": login,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": outgoing.host,
        "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": outgoing.security != "none",
        "OutgoingMailServerUsername": login,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.{unique('profile')}",
        "PayloadUUID": unique("profile"),
        "PayloadDisplayName": login,
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [mail],
    }
    return plistlib.dumps(profile)


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text


def _document(root: Element) -> bytes:
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document
