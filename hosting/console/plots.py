"""What was counted as plots: by the hour, by the day, and how what is stored grows."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from hosting.console import charts
from hosting.console.charts import Plot, Series

When = TypeVar("When", date, datetime)
Counted = Mapping[str, Sequence[tuple[When, int]]]

KILO = 1024.0  # as filesizeformat has it
# Why mail is refused most of the time, by the reply that the sender gets (RFC 3463).
REPLIES: Mapping[str, str | Promise] = {
    "550 5.1.1": gettext_lazy("no such mailbox"),
    "550 5.1.2": gettext_lazy("domain closed"),
    "550 5.7.1": gettext_lazy("not our domain"),
    "450 4.2.1": gettext_lazy("mailbox suspended"),
    "452 4.2.2": gettext_lazy("mailbox full"),
    "452 4.3.1": gettext_lazy("no room on the disk"),
    "451 4.3.0": gettext_lazy("fault on our side"),
    "552 5.3.4": gettext_lazy("message too large"),
    "554 5.4.6": gettext_lazy("mail loop"),
}


def by_hour(counted: Counted[datetime]) -> list[Plot]:
    local = {name: [(timezone.localtime(hour), n) for hour, n in values] for name, values in counted.items()}
    days = len({hour.date() for values in local.values() for hour, _n in values})
    shape = "H:i" if days <= 2 else "D H:i"
    return _plots(local, _("Hour"), lambda hour: date_format(hour, shape))


def by_day(counted: Counted[date]) -> list[Plot]:
    return _plots(counted, _("Day"), short_date)


def short_date(day: date) -> str:
    return date_format(day, pgettext("a date as short as can be, in the letters of Django's filter", "M j"))


def stored(points: Sequence[tuple[date, int]]) -> Plot:
    labels = [short_date(day) for day, _value in points]
    return charts.line(_("Stored"), _("Day"), labels, [value for _day, value in points], octets, KILO)


def octets(value: float) -> str:
    """'200 MB'; nothing behind the comma where it says nothing."""
    return re.sub("[.,]0(?=\N{NO-BREAK SPACE})", "", str(filesizeformat(value)))


def _plots(counted: Counted[When], when: str, label: Callable[[When], str]) -> list[Plot]:
    some = next(iter(counted.values()), ())
    labels = [label(moment) for moment, _value in some]

    def series(name: str, text: str) -> Series:
        return Series(text, [value for _when, value in counted.get(name, ())] or [0] * len(labels))

    def plot(
        title: str,
        *parts: Series,
        say: charts.Say = charts.number,
        base: float = 10.0,
        named: bool = False,
    ) -> Plot:
        return charts.stacked(title, when, labels, parts, say, base, named=named)

    refusals = [
        series(name, reply_text(name.removeprefix("refused ")))
        for name in counted
        if name.startswith("refused ")
    ]
    refusals = sorted((one for one in refusals if one.total), key=lambda one: -one.total)
    return [
        plot(_("Delivered"), series("delivered", _("Delivered"))),
        plot(_("Refused, by reason"), *(refusals or [series("refused", _("Refused"))]), named=bool(refusals)),
        plot(_("POP3 sessions"), series("pop3_sessions", _("Sessions"))),
        plot(
            _("Failed logins"),
            series("failed_logins", _("POP3")),
            series("failed_web_logins", _("Web pages")),
        ),
        plot(_("Octets in"), series("octets_in", _("Octets in")), say=octets, base=KILO),
        plot(_("Octets out"), series("octets_out", _("Octets out")), say=octets, base=KILO),
    ]


def reply_text(code: str) -> str:
    """'550 5.1.1, no such mailbox', or the code alone."""
    return f"{code}, {REPLIES[code]}" if code in REPLIES else code
