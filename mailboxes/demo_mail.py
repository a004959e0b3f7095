"""The demo's sample mail: what a mailbox sees in a week, and some of what mail programs get wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

from django.utils import timezone

from mailboxes.demo_invoice import invoice
from mailboxes.demo_pictures import beans, plan
from mailboxes.models import FolderKind

DOMAIN = "example.test"
ANN = f"ann@{DOMAIN}"
BOB = f"bob@{DOMAIN}"
NAMES = {ANN: "Ann Example", BOB: "Bob Example"}

NEWSLETTER = """<!doctype html>
<html><head><style>h1 { color: #2b5; } .box { padding: 1em; background: #eee }</style></head>
<body><h1>The garden in {month}</h1>
<p class="box">Sow <b>broad beans</b> now; lift the last <i>carrots</i> before the frost.</p>
<table><tr><th>Plant</th><th>Row</th></tr><tr><td>Garlic</td><td>15 cm</td></tr></table>
<p><img src="https://newsletter.example/pixel.png" alt="a picture from elsewhere" width="1" height="1">
<img src="cid:bean" alt="a bean"></p>
<p><a href="https://newsletter.example/unsubscribe">Unsubscribe</a></p>
<script>document.title = "a script that must never run"</script></body></html>
"""
# So many of the newest have not been read.
UNREAD = 6
INVITATION = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//Restante//Demo//EN\r
METHOD:REQUEST\r
BEGIN:VEVENT\r
UID:tea-{stamp}@example.test\r
DTSTAMP:{stamp}\r
DTSTART:{stamp}\r
DURATION:PT1H\r
SUMMARY:Tea at four\r
LOCATION:The blue kitchen\r
ORGANIZER;CN=Bob Example:mailto:bob@example.test\r
ATTENDEE;CN=Ann Example;RSVP=TRUE:mailto:ann@example.test\r
END:VEVENT\r
END:VCALENDAR\r
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A message, when it came, and what its reader has done with it.

    `own_folder`: the name of the reader's folder where it lies, else empty: then it lies in `folder`.
    """

    message: EmailMessage
    at: datetime
    seen: bool
    starred: bool
    folder: FolderKind
    own_folder: str


def samples_for(login: str) -> list[Sample]:
    """The sample mail of one account, oldest first."""
    makers = _FOR_ANN if login == ANN else _FOR_BOB
    now = timezone.now().replace(microsecond=0)
    samples: list[Sample] = []
    for number, make in enumerate(makers, 1):
        # Some hours apart; the last came just now, whatever the time of the day.
        at = now - timedelta(hours=7, minutes=13) * (len(makers) - number)
        message = make()
        message["Date"] = format_datetime(at)
        message["To"] = f"{NAMES[login]} <{login}>"
        if message["Message-ID"] is None:
            message["Message-ID"] = f"<demo-{number}.{login}>"
        samples.append(
            Sample(
                message,
                at,
                seen=number <= len(makers) - UNREAD,
                starred=make in _STARRED,
                folder=FolderKind.ARCHIVE if make in _ARCHIVED else FolderKind.INBOX,
                own_folder=_IN_OWN_FOLDERS.get(make, ""),
            )
        )
    return samples


def _mail(sender: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["Subject"] = subject
    message.set_content(text)
    return message


BOB_SAYS = f"Bob Example <{BOB}>"
ANN_SAYS = f"Ann Example <{ANN}>"


def _welcome() -> EmailMessage:
    return _mail(
        f"Your provider <post@{DOMAIN}>",
        "Welcome to your mailbox",
        "Good day,\n\nyour mailbox is ready: in the browser, and in any mail program by POP3.\n"
        "Mail that a program fetches and deletes lies in the trash for 30 days, so you can have it back.\n\n"
        "-- \nYour provider\n",
    )


def _newsletter() -> EmailMessage:
    message = _mail(
        "Garden Weekly <news@newsletter.example>", "The garden in November", "Sow broad beans now.\n"
    )
    message["List-Unsubscribe"] = "<https://newsletter.example/unsubscribe>"
    message.add_alternative(NEWSLETTER.replace("{month}", "November"), subtype="html")
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(beans(), "image", "png", cid="<bean>")  # type: ignore[union-attr]
    return message


def _attachment() -> EmailMessage:
    message = _mail(BOB_SAYS, "The plan of the shed", "Here is the plan, and a list.\n\nBob\n")
    message.add_attachment(plan(), "image", "png", filename="plan.png")
    message.add_attachment("item,count\nplank,12\nscrew,200\n", subtype="csv", filename="list of parts.csv")
    return message


def _attachment_named_beyond_ascii() -> EmailMessage:
    message = _mail("Büro <buero@firma.example>", "Ihre Rechnung", "Anbei unsere Rechnung.\n")
    message.add_attachment(invoice(), "application", "pdf", filename="Rechnung für März.pdf")
    return message


def _german() -> EmailMessage:
    return _mail(
        "Jürgen Groß <juergen@beispiel.example>",
        "Grüße aus Köln und eine Frage",
        "Liebe Ann,\n\nviele Grüße aus Köln! Hättest du übernächste Woche Zeit für ein Gespräch über\n"
        "die Straße, die Brücke und das Café am Fluss?\n\nHerzlich\nJürgen\n",
    )


def _german_in_latin_1() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Stadtbücherei <info@buecherei.example>"
    message["Subject"] = "Rückgabe fällig"
    message.set_content("Bitte geben Sie »Die Füße der Götter« zurück.\n", charset="iso-8859-1", cte="8bit")
    return message


def _japanese() -> EmailMessage:
    return _mail(
        "田中花子 <hanako@tanaka.example>",
        "来週の打ち合わせについて",
        "アンさん\n\nお世話になっております。来週の打ち合わせは水曜日の午後三時からでよろしいでしょうか。\n\n田中\n",
    )


def _right_to_left() -> EmailMessage:
    return _mail(
        "דנה <dana@dugma.example>",
        "שלום וברכה",
        "שלום אן,\n\nתודה על המכתב. נתראה ביום שלישי ב-16:00.\n\nדנה\n",  # noqa: RUF001
    )


def _lunch() -> EmailMessage:
    message = _mail(BOB_SAYS, "Lunch on Friday?", "Hello Ann,\n\nshall we have lunch on Friday?\n\nBob\n")
    message["Message-ID"] = f"<lunch-1@{DOMAIN}>"
    return message


def _lunch_where() -> EmailMessage:
    message = _mail(
        "Carla <carla@friends.example>",
        "Re: Lunch on Friday?",
        "I come too. Where?\n\n> shall we have lunch on Friday?\n",
    )
    message["Message-ID"] = "<lunch-2@friends.example>"
    message["In-Reply-To"] = message["References"] = f"<lunch-1@{DOMAIN}>"
    return message


def _lunch_there() -> EmailMessage:
    message = _mail(
        BOB_SAYS,
        "Re: Lunch on Friday?",
        "The place by the river, at noon.\n\nOn Tuesday Carla wrote:\n> I come too. Where?\n",
    )
    message["Message-ID"] = f"<lunch-3@{DOMAIN}>"
    message["In-Reply-To"] = "<lunch-2@friends.example>"
    message["References"] = f"<lunch-1@{DOMAIN}> <lunch-2@friends.example>"
    return message


def _invitation() -> EmailMessage:
    message = _mail(BOB_SAYS, "Invitation: tea at four", "Tea at four, in the blue kitchen.\n")
    stamp = (timezone.now() + timedelta(days=3)).strftime("%Y%m%dT160000Z")
    message.add_alternative(
        INVITATION.replace("{stamp}", stamp), subtype="calendar", params={"method": "REQUEST"}
    )
    return message


def _long_subject() -> EmailMessage:
    return _mail(
        "Minutes <secretary@club.example>",
        "Minutes of the extraordinary general meeting of the society of friends of long subjects, "
        "held in the small hall on the second floor, with the list of all who were there, of all who "
        "were not, of what was said by either, and of what was decided in the end (nothing)",
        "See the subject.\n",
    )


def _no_subject() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "dan@friends.example"
    message.set_content("forgot the subject, sorry. call me?\n")
    return message


def _html_only() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Parcel Service <noreply@parcels.example>"
    message["Subject"] = "Your parcel comes tomorrow"
    message.set_content(
        "<p>Your parcel <b>4711</b> comes <u>tomorrow</u> between 9 and 12.</p>"
        '<p><a href="https://parcels.example/track?n=4711">Follow it</a></p>',
        subtype="html",
    )
    return message


def _dots_and_from() -> EmailMessage:
    return _mail(
        "Tester <tester@friends.example>",
        "Lines that mail programs get wrong",
        "The next lines begin with dots:\n.\n..\n.hidden\n\nFrom here on it goes wrong.\n>From there too.\n",
    )


def _long_text() -> EmailMessage:
    text = "\n\n".join(
        f"{number}. The river rose in the night, and by the morning the lower path was gone; we went "
        "round by the mill, where the miller's dog knows us, and were home before the rain."
        for number in range(1, 41)
    )
    return _mail("Carla <carla@friends.example>", "A long letter", text + "\n")


def _security_notice() -> EmailMessage:
    return _mail(
        f"Your provider <post@{DOMAIN}>",
        "A new device has fetched your mail",
        "A mail program that we have not seen before has fetched your mail.\nIf it was yours, all is well.\n",
    )


def _thanks() -> EmailMessage:
    return _mail(ANN_SAYS, "Thank you for the plan", "The shed will stand by spring.\n\nAnn\n")


def _forwarded() -> EmailMessage:
    message = _mail(ANN_SAYS, "Fwd: Lunch on Friday?", "See below.\n")
    inner = _lunch()
    inner["To"] = f"Ann Example <{ANN}>"
    message.add_attachment(inner)
    return message


_FOR_ANN: tuple[Callable[[], EmailMessage], ...] = (
    _welcome,
    _long_text,
    _german,
    _german_in_latin_1,
    _newsletter,
    _attachment,
    _japanese,
    _right_to_left,
    _lunch,
    _lunch_where,
    _lunch_there,
    _long_subject,
    _no_subject,
    _html_only,
    _attachment_named_beyond_ascii,
    _dots_and_from,
    _invitation,
    _security_notice,
)
_FOR_BOB: tuple[Callable[[], EmailMessage], ...] = (_welcome, _thanks, _forwarded)
_STARRED = {_attachment}
_ARCHIVED = {_long_text, _german_in_latin_1}
_IN_OWN_FOLDERS = {_long_subject: "The club"}
