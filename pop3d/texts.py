"""What the POP3 door says to people, in English and in German (RFC 6856 section 3: LANG).

A text is what follows `+OK ` or `-ERR `: one printable line. The English is ASCII, for it also serves clients
that never sent LANG; the German is UTF-8. `%d` and `%b` stand for numbers and octets, in the same order in
both.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

ENGLISH, GERMAN = 0, 1

# RFC 6856 section 3: every tag that LANG takes, and what its language calls itself. i-default is RFC 2277's.
LANGUAGES = {
    b"en": (ENGLISH, b"English"),
    b"de": (GERMAN, b"Deutsch"),
    b"i-default": (ENGLISH, b"Default language"),
}
PREFERRED_LANGUAGE = b"en"


class Text(NamedTuple):
    """The same sentence in each language; `text[language]` is what goes on the wire."""

    english: bytes
    german: bytes


class Refusal(Exception):
    """A command that is answered with -ERR and changes nothing.

    `bad`: it was not understood (an unknown verb, a malformed argument). Too many of these in a row end the
    connection; what was understood but cannot be had is not counted. `final`: this one ends it.
    """

    def __init__(self, text: Text, *values: int, bad: bool = True, final: bool = False) -> None:
        super().__init__(text.english)
        self.text = text
        self.values = values
        self.bad = bad
        self.final = final


def _text(english: str, german: str) -> Text:
    return Text(english.encode("ascii"), german.encode())


GREETING = _text("%b POP3 server ready", "%b: POP3-Server bereit")
GOODBYE = _text("goodbye", "auf Wiedersehen")
DELETED_GOODBYE = _text("%d messages deleted, goodbye", "%d Nachrichten gelöscht, auf Wiedersehen")
SEND_PASSWORD = _text("now send the password", "jetzt bitte das Passwort senden")
MAILDROP = _text("%d messages (%d octets)", "%d Nachrichten (%d Oktette)")
OCTETS = _text("%d octets", "%d Oktette")
MARKED = _text("message %d will be deleted at QUIT", "Nachricht %d wird bei QUIT gelöscht")
STILL_HERE = _text("still here", "noch da")
CAPABILITIES = _text("this server can do:", "dieser Server kann:")
MECHANISMS = _text("ways to log in:", "Anmeldeverfahren:")
LANGUAGE_LIST = _text("languages:", "Sprachen:")
LANGUAGE_CHOSEN = _text("%b is now the language", "%b ist jetzt die Sprache")
UTF8_ON = _text("UTF-8 is on", "UTF-8 ist eingeschaltet")
BEGIN_TLS = _text("begin TLS negotiation", "TLS-Aushandlung beginnen")
NOTED = _text("noted", "notiert")

UNKNOWN_COMMAND = _text("unknown command", "unbekannter Befehl")
LOG_IN_FIRST = _text("log in first", "bitte zuerst anmelden")
ONLY_BEFORE_LOGIN = _text(
    "you are already logged in; this is only possible before",
    "Sie sind schon angemeldet; das geht nur vor der Anmeldung",
)
TAKES_NO_ARGUMENT = _text("this command takes no argument", "dieser Befehl hat kein Argument")
LINE_TOO_LONG = _text("the line is too long", "die Zeile ist zu lang")
LINE_FAR_TOO_LONG = _text("the line is far too long, goodbye", "die Zeile ist viel zu lang, auf Wiedersehen")
TOO_MANY_BAD_COMMANDS = _text(
    "too many commands that were not understood, goodbye",
    "zu viele unverständliche Befehle, auf Wiedersehen",
)

LOGIN_UNPROTECTED = _text(
    "your password would travel in the clear: "
    "set your mail program to SSL/TLS or STARTTLS (command STLS), then log in",
    "Ihr Passwort würde unverschlüsselt übertragen: "
    "bitte im Mailprogramm SSL/TLS oder STARTTLS einstellen (Befehl STLS), dann anmelden",
)
USER_FIRST = _text("send the user name first (USER)", "bitte zuerst den Benutzernamen senden (USER)")
USER_MISSING = _text("the user name is missing", "der Benutzername fehlt")
USER_UNREADABLE = _text(
    "the user name must be UTF-8 without control characters",
    "der Benutzername muss UTF-8 ohne Steuerzeichen sein",
)
PASSWORD_MISSING = _text("the password is missing", "das Passwort fehlt")
PASSWORD_UNREADABLE = _text("the password must be UTF-8", "das Passwort muss UTF-8 sein")
UNKNOWN_MECHANISM = _text(
    "unknown way to log in; use PLAIN or LOGIN", "unbekanntes Anmeldeverfahren; möglich sind PLAIN und LOGIN"
)
BAD_BASE64 = _text("this is not base64", "das ist kein Base64")
BAD_PLAIN = _text(
    "PLAIN needs a user name and a password, separated by NUL (RFC 4616)",
    "PLAIN braucht Benutzername und Passwort, mit NUL getrennt (RFC 4616)",
)
NO_PROXY_LOGIN = _text(
    "logging in on behalf of another user is not possible",
    "eine Anmeldung im Namen eines anderen Benutzers ist nicht möglich",
)
LOGIN_CANCELLED = _text("login cancelled", "Anmeldung abgebrochen")

TLS_ALREADY_ON = _text("TLS is already on", "TLS ist schon eingeschaltet")
TLS_NOT_OFFERED = _text("TLS is not available here", "TLS gibt es hier nicht")
UNKNOWN_LANGUAGE = _text("unknown language; LANG lists them", "unbekannte Sprache; LANG zählt sie auf")
BAD_ID = _text(
    'ID takes NIL or a list like ("name" "value")', 'ID braucht NIL oder eine Liste wie ("name" "value")'
)

WHICH_MESSAGE = _text("the message number is missing", "die Nummer der Nachricht fehlt")
NOT_A_NUMBER = _text("this is not a message number", "das ist keine Nachrichtennummer")
NO_SUCH_MESSAGE = _text(
    "no such message, there are only %d", "diese Nachricht gibt es nicht, es sind nur %d da"
)
MESSAGE_DELETED = _text("message %d is already deleted", "Nachricht %d ist schon gelöscht")
TOP_ARGUMENTS = _text(
    "TOP needs a message number and a number of lines",
    "TOP braucht eine Nachrichtennummer und eine Zeilenzahl",
)

MESSAGE_AWAY = _text(
    "the message cannot be read just now; please try again later",
    "die Nachricht ist gerade nicht lesbar; bitte später noch einmal versuchen",
)
MESSAGE_GONE = _text("the message is no longer there", "die Nachricht ist nicht mehr da")
NOTHING_DELETED = _text(
    "the messages could not be deleted just now; all are still there",
    "die Nachrichten konnten gerade nicht gelöscht werden; alle sind noch da",
)
SHUTTING_DOWN = _text(
    "the server is going down; nothing was deleted, please try again soon",
    "der Server wird beendet; nichts wurde gelöscht, bitte bald noch einmal versuchen",
)

_GERMAN_IN_ASCII = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "\u2013": "-",
        "\u2019": "'",
    }
)


def one_line(text: str, limit: int, *, ascii_only: bool) -> bytes:
    """Any text as one printable line of at most `limit` octets: UTF-8, or the nearest ASCII."""
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    if ascii_only:
        decomposed = unicodedata.normalize("NFKD", line.translate(_GERMAN_IN_ASCII))
        base = "".join(c for c in decomposed if not unicodedata.combining(c))
        return base.encode("ascii", "replace")[:limit]
    return line.encode()[:limit].decode("utf-8", "ignore").encode()
