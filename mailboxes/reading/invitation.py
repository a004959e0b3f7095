"""What a calendar part invites to (RFC 5545, RFC 5546), as plain data: nothing in it is ever HTML."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from mailboxes.reading.decoding import one_line

CALENDAR_MAX = 256 * 1024
LINES_MAX = 5_000
TEXT_MAX = 500

_FOLD = re.compile(r"\r?\n[ \t]")
_LINE = re.compile(r'([\w-]{1,60})((?:;[\w-]{1,60}=(?:"[^"]*+"|[^";:]*+))*+):(.*)', re.DOTALL)
_PARAMETER = re.compile(r';([\w-]{1,60})=(?:"([^"]*)"|([^";:]*))')
_ESCAPE = re.compile(r"\\([\\;,nN])")
_ZONE = re.compile(r"[A-Za-z_]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){1,2}|UTC|GMT")
_DURATION = re.compile(r"P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?)?")

When = datetime | date | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """`start` and `end` are a moment with a zone, a time of day without one where the zone is not known, or a
    date for whole days (then `end` is the first day after). `method` is REQUEST, CANCEL, REPLY, ... or ""."""

    summary: str
    start: When
    end: When
    location: str
    organizer: str
    method: str


def invitation(calendar: str, method: str = "") -> Invitation | None:
    """The first event of a calendar; `method` is what the Content-Type says, if the calendar does not."""
    facts: dict[str, tuple[dict[str, str], str]] = {}
    inside = seen = False
    for line in _FOLD.sub("", calendar[:CALENDAR_MAX]).split("\n", LINES_MAX)[:LINES_MAX]:
        found = _LINE.match(line.rstrip("\r"))
        if found is None:
            continue
        name, value = found[1].upper(), found[3]
        if name == "METHOD" and not inside:
            method = value
        elif name == "BEGIN":
            if inside:
                # An alarm inside the event has a summary of its own.
                break
            inside = seen = value.strip().upper() == "VEVENT"
        elif name == "END" and inside:
            break
        elif inside:
            facts.setdefault(name, (_parameters(found[2]), value))
    if not seen:
        return None
    start = _when(facts, "DTSTART")
    return Invitation(
        summary=_text(facts, "SUMMARY"),
        start=start,
        end=_when(facts, "DTEND") or _after(start, facts.get("DURATION", ({}, ""))[1]),
        location=_text(facts, "LOCATION"),
        organizer=_organizer(facts),
        method=one_line(method, 20).upper(),
    )


def _parameters(text: str) -> dict[str, str]:
    return {found[1].upper(): found[2] or found[3] or "" for found in _PARAMETER.finditer(text)}


def _text(facts: dict[str, tuple[dict[str, str], str]], name: str) -> str:
    value = facts.get(name, ({}, ""))[1][: TEXT_MAX * 4]
    return one_line(_ESCAPE.sub(lambda found: " " if found[1] in "nN" else found[1], value), TEXT_MAX)


def _organizer(facts: dict[str, tuple[dict[str, str], str]]) -> str:
    parameters, value = facts.get("ORGANIZER", ({}, ""))
    address = re.sub(r"(?i)^mailto:", "", value)
    name = parameters.get("CN", "")
    return one_line(f"{name} <{address}>" if name and name != address else address, TEXT_MAX)


def _when(facts: dict[str, tuple[dict[str, str], str]], name: str) -> When:
    parameters, value = facts.get(name, ({}, ""))
    value = value.strip()
    try:
        if re.fullmatch(r"\d{8}", value, re.ASCII):
            return date(int(value[:4]), int(value[4:6]), int(value[6:]))
        if not re.fullmatch(r"\d{8}T\d{6}Z?", value, re.ASCII):
            return None
        moment = datetime.strptime(value[:15], "%Y%m%dT%H%M%S")  # noqa: DTZ007  # its zone comes next
        return (
            moment.replace(tzinfo=UTC) if value.endswith("Z") else _zoned(moment, parameters.get("TZID", ""))
        )
    except (ValueError, OverflowError):
        return None


def _zoned(moment: datetime, zone: str) -> datetime:
    zone = zone.removeprefix("/")
    if not _ZONE.fullmatch(zone):
        return moment
    try:
        return moment.replace(tzinfo=ZoneInfo(zone))
    except (ValueError, OSError):
        # ZoneInfoNotFoundError is a KeyError, which the next line names.
        return moment
    except KeyError:
        return moment


def _after(start: When, duration: str) -> When:
    """RFC 5545 section 3.3.6."""
    found = _DURATION.fullmatch(duration.strip())
    if start is None or found is None or not any(found.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        return start + length
    except OverflowError:
        return None
