"""How much there was in each hour, and the largest mailboxes: counted by jobs, and only read on view."""

from collections import defaultdict
from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from mailboxes.models import (
    DeliveryRecord,
    Domain,
    HourlyCount,
    LargeMailbox,
    Mailbox,
    POP3Session,
    WebSession,
    WebSessionEnd,
)

HOUR = timedelta(hours=1)
# Hours that are counted anew each time: records come half a second late.
COUNTED_ANEW = 3
# Hours that are made up for after the worker or the beat was away: a week, some 700 short queries.
MADE_UP_MAX = 7 * 24
KEPT = timedelta(days=400)
# What happens in an hour, beside the refusals, which are counted by reply: `refused 550 5.1.1`.
FLOWS = (
    "delivered",
    "refused",
    "pop3_sessions",
    "web_logins",
    "failed_logins",
    "failed_web_logins",
    "octets_in",
    "octets_out",
)
# So many of the largest mailboxes are kept: more than are shown, so that who rises among those has a past.
LARGEST = 200


def count_hours(now: datetime | None = None) -> int:
    """Count the hours since the last that was counted, with some before it, and what there is in all; returns
    how many hours. The oldest first, so that who is stopped in between goes on there."""
    now = now or timezone.now()
    this = now.replace(minute=0, second=0, microsecond=0)
    wanted = _hours_to_count(this)
    for back in range(wanted - 1, -1, -1):
        hour = this - back * HOUR
        _keep(hour, _counts_of(hour))
    _keep(this, _totals())
    HourlyCount.objects.filter(hour__lt=now - KEPT).delete()
    return wanted


def _hours_to_count(this: datetime) -> int:
    last = HourlyCount.objects.filter(hour__lte=this).aggregate(last=Max("hour"))["last"]
    missed = (this - last) // HOUR if last is not None else 0
    # Never an hour whose records may be swept already: it would be counted as empty.
    return min(missed + COUNTED_ANEW, MADE_UP_MAX, settings.RECORD_DAYS * 24)


def _keep(hour: datetime, counts: dict[str, int]) -> None:
    HourlyCount.objects.bulk_create(
        [HourlyCount(hour=hour, name=name, value=value) for name, value in counts.items()],
        update_conflicts=True,
        unique_fields=["hour", "name"],
        update_fields=["value"],
    )


def _counts_of(hour: datetime) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    records = DeliveryRecord.objects.filter(at__gte=hour, at__lt=hour + HOUR)
    for code, number, octets in (
        records.order_by().values_list("code").annotate(n=Count("pk"), o=Sum("octets"))
    ):
        if code.startswith("2"):
            counts["delivered"] += number
            counts["octets_in"] += octets or 0
        else:
            counts["refused"] += number
            counts[f"refused {code}"] += number
    sessions = POP3Session.objects.filter(started_at__gte=hour, started_at__lt=hour + HOUR)
    made = sessions.exclude(mailbox=None).aggregate(n=Count("pk"), o=Sum("octets"))
    counts["pop3_sessions"], counts["octets_out"] = made["n"], made["o"] or 0
    counts["failed_logins"] = sessions.filter(mailbox=None).count()
    web = WebSession.objects.filter(started_at__gte=hour, started_at__lt=hour + HOUR)
    counts["failed_web_logins"] = web.filter(ended=WebSessionEnd.REFUSED).count()
    counts["web_logins"] = web.exclude(ended=WebSessionEnd.REFUSED).count()
    return counts


def _totals() -> dict[str, int]:
    boxes = Mailbox.objects.aggregate(messages=Sum("message_count"), octets=Sum("used_bytes"))
    houses = Domain.objects.aggregate(accounts=Sum("account_count"), domains=Count("pk"))
    return {f"total_{name}": value or 0 for name, value in (boxes | houses).items()}


def hours(last: int, now: datetime | None = None) -> dict[str, list[tuple[datetime, int]]]:
    """By name, the values of the last hours, oldest first, an hour that was not counted being 0."""
    this = (now or timezone.now()).replace(minute=0, second=0, microsecond=0)
    wanted = [this - back * HOUR for back in range(last - 1, -1, -1)]
    found: dict[str, dict[datetime, int]] = defaultdict(dict)
    rows = HourlyCount.objects.filter(hour__gte=wanted[0]).exclude(name__startswith="total_")
    for name, hour, value in rows.values_list("name", "hour", "value"):
        found[name][hour] = value
    return {name: [(hour, values.get(hour, 0)) for hour in wanted] for name, values in found.items()}


def days(last: int, today: date | None = None) -> dict[str, list[tuple[date, int]]]:
    """By name, the sums of the last days in the time zone of the pages, oldest first; in one query."""
    today = today or timezone.localdate()
    wanted = [today - timedelta(days=back) for back in range(last - 1, -1, -1)]
    found: dict[str, dict[date, int]] = defaultdict(dict)
    rows = (
        HourlyCount.objects.filter(hour__gte=_midnight(wanted[0]))
        .exclude(name__startswith="total_")
        .annotate(day=TruncDate("hour"))
        .order_by()
        .values_list("name", "day")
        .annotate(sum=Sum("value"))
    )
    for name, day, value in rows:
        found[name][day] = value
    return {name: [(day, values.get(day, 0)) for day in wanted] for name, values in found.items()}


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def stored(last: int, today: date | None = None) -> list[tuple[date, int]]:
    """What the mailboxes held at the end of each of the last days, oldest first, without days that nobody
    counted."""
    today = today or timezone.localdate()
    begin = _midnight(today - timedelta(days=last - 1))
    rows = HourlyCount.objects.filter(name="total_octets", hour__gte=begin).order_by("hour")
    by_day = {timezone.localdate(hour): value for hour, value in rows.values_list("hour", "value")}
    return sorted(by_day.items())


def totals() -> dict[str, int]:
    """What there was in all when it was last counted; empty when it never was."""
    latest = HourlyCount.objects.filter(name="total_accounts").order_by("-hour").first()
    if latest is None:
        return {}
    rows = HourlyCount.objects.filter(hour=latest.hour, name__startswith="total_")
    return {row.name.removeprefix("total_"): row.value for row in rows}


def rank_mailboxes(now: datetime | None = None) -> int:
    """Look which mailboxes are the largest, and how each has grown since the last look of the day before."""
    now = now or timezone.now()
    largest = list(
        Mailbox.objects.filter(used_bytes__gt=0)
        .order_by("-used_bytes", "pk")
        .values_list("pk", "used_bytes")[:LARGEST]
    )
    with transaction.atomic():
        before = {row.mailbox_id: row for row in LargeMailbox.objects.select_for_update()}
        LargeMailbox.objects.all().delete()
        LargeMailbox.objects.bulk_create(
            LargeMailbox(
                rank=rank,
                mailbox_id=mailbox,
                used_bytes=used,
                grown_bytes=used - _baseline(before.get(mailbox), used, now),
                counted_at=now,
            )
            for rank, (mailbox, used) in enumerate(largest, 1)
        )
    return len(largest)


def _baseline(before: LargeMailbox | None, used: int, now: datetime) -> int:
    """What it held at the last look of the day before; of one that was not looked at, what it holds."""
    if before is None:
        return used
    if timezone.localdate(before.counted_at) < timezone.localdate(now):
        return before.used_bytes
    return before.used_bytes - before.grown_bytes


def largest_mailboxes(most: int) -> list[LargeMailbox]:
    return list(LargeMailbox.objects.select_related("mailbox__account").order_by("rank")[:most])
