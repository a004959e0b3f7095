"""How the house is doing: what was counted, how it grows, and what Prometheus reads."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from hosting.console import charts
from hosting.console.plots import by_hour
from hosting.console.tests.conftest import Enter
from mailboxes import beats, counts, tasks
from mailboxes.models import (
    Account,
    DeliveryRecord,
    HourlyCount,
    LargeMailbox,
    Mailbox,
    POP3Session,
    ProcessBeat,
    WebSession,
)

Page = Callable[..., str]
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.get_default_timezone())


@pytest.fixture
def half_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands: no hour ends while a test counts what has come in it."""
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(minutes=30))


@pytest.fixture
def counted(half_past: None, ann: Account, post: Callable[..., Any]) -> None:
    post(ann)
    now = timezone.now()
    for code in ("550 5.1.1", "550 5.1.1", "452 4.2.2"):
        DeliveryRecord.objects.create(at=now, recipient="x@example.test", code=code, door="smtp")
    for name, box in (("s", ann.mailbox), ("f", None)):
        POP3Session.objects.create(
            session=name,
            mailbox=box,
            login=ann.login,
            peer="p",
            started_at=now,
            ended_at=now,
            ended="quit",
            octets=7,
        )
    for name, ended in (("in", ""), ("r1", "refused"), ("r2", "refused")):
        WebSession.objects.create(
            session=name, login=ann.login, peer="p", started_at=now, seen_at=now, ended=ended
        )
    tasks.count_hours()
    tasks.rank_mailboxes()


# -- counting -----------------------------------------------------------------------------------


def test_hours_are_counted_and_counting_again_changes_nothing(counted: None, ann: Account) -> None:
    def newest() -> dict[str, int]:
        hour = HourlyCount.objects.order_by("-hour").values_list("hour", flat=True)[0]
        return dict(HourlyCount.objects.filter(hour=hour).values_list("name", "value"))

    first = newest()
    ann.mailbox.refresh_from_db()
    assert first == {
        "delivered": 1,
        "octets_in": DeliveryRecord.objects.get(code__startswith="2").octets,
        "refused": 3,
        "refused 550 5.1.1": 2,
        "refused 452 4.2.2": 1,
        "pop3_sessions": 1,
        "octets_out": 7,
        "failed_logins": 1,
        "web_logins": 1,
        "failed_web_logins": 2,
        "total_accounts": Account.objects.count(),
        "total_domains": 1,
        "total_messages": 1,
        "total_octets": ann.mailbox.used_bytes,
    }
    counts.count_hours()
    assert newest() == first


def count(name: str, hour: datetime, value: int) -> None:
    HourlyCount.objects.create(hour=hour, name=name, value=value)


@pytest.mark.django_db
def test_hours_that_nobody_counted_are_none() -> None:
    count("delivered", NOON, 3)
    count("delivered", NOON - timedelta(hours=2), 4)
    count("delivered", NOON - timedelta(hours=3), 99)
    assert counts.hours(3, NOON + timedelta(minutes=59)) == {
        "delivered": [
            (NOON - timedelta(hours=2), 4),
            (NOON - timedelta(hours=1), 0),
            (NOON, 3),
        ]
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("away", "record_days", "counted"), [(1, 90, 4), (20, 90, 23), (500, 90, 168), (500, 1, 24)]
)
def test_hours_in_which_nobody_counted_are_counted_afterwards(
    settings: Any, away: int, record_days: int, counted: int
) -> None:
    settings.RECORD_DAYS = record_days
    assert counts.count_hours(NOON) == counts.COUNTED_ANEW
    for hours in (1, away):
        at = NOON + timedelta(hours=hours, minutes=1)
        DeliveryRecord.objects.create(at=at, recipient="x@example.test", code="250 2.0.0", door="smtp")
    assert counts.count_hours(NOON + timedelta(hours=away, minutes=30)) == counted
    delivered = {
        hour: n for hour, n in counts.hours(away + 1, NOON + timedelta(hours=away))["delivered"] if n
    }
    first = {NOON + timedelta(hours=1)} if away < counted else set()
    assert set(delivered) == first | {NOON + timedelta(hours=away)}


def test_one_reason_has_a_legend_too() -> None:
    hours = [(NOON, 2)]
    legends = {
        plot.title: plot.legend
        for counted in ({"refused 550 5.1.1": hours, "delivered": hours}, {"delivered": hours})
        for plot in by_hour(counted)
        if plot.total != "0" or plot.title == "Delivered"
    }
    assert legends["Refused, by reason"] == [(1, "550 5.1.1, no such mailbox", "2")]
    assert legends["Delivered"] == []


@pytest.mark.django_db
def test_days_end_where_the_time_zone_of_the_pages_says() -> None:
    with timezone.override("Europe/Berlin"):
        for hour, value in (((22, 22), 1), ((22, 23), 10), ((23, 22), 100), ((23, 23), 1000)):
            count("delivered", datetime(2026, 11, *hour, tzinfo=NOON.tzinfo), value)
        # Midnight in Berlin is 23:00 in UTC.
        expected = [(date(2026, 11, 22), 1), (date(2026, 11, 23), 110)]
        assert counts.days(2, date(2026, 11, 23)) == {"delivered": expected}


@pytest.mark.django_db
def test_what_is_stored_is_that_of_the_last_count_of_each_day() -> None:
    for day, hour, value in ((20, 9, 5), (22, 9, 7), (22, 20, 6), (23, 1, 8)):
        count("total_octets", NOON.replace(day=day, hour=hour), value)
    assert counts.stored(3, date(2026, 11, 23)) == [(date(2026, 11, 22), 6), (date(2026, 11, 23), 8)]


def test_the_largest_mailboxes_are_looked_at_and_their_growth_is_since_the_day_before(
    open_account: Callable[..., Account],
) -> None:
    boxes = [open_account(name).mailbox for name in ("a", "b", "c")]

    def look(at: datetime, *sizes: int) -> list[tuple[int, int, int, int]]:
        for box, size in zip(boxes, sizes, strict=True):
            Mailbox.objects.filter(pk=box.pk).update(used_bytes=size)
        counts.rank_mailboxes(at)
        rows = LargeMailbox.objects.order_by("rank")
        return [(row.rank, boxes.index(row.mailbox), row.used_bytes, row.grown_bytes) for row in rows]

    yesterday = NOON - timedelta(days=1)
    assert look(yesterday, 10, 0, 30) == [(1, 2, 30, 0), (2, 0, 10, 0)]
    # Within a day growth adds up; since nobody knows what b held before, it begins at nothing.
    assert look(yesterday + timedelta(hours=1), 15, 5, 30) == [(1, 2, 30, 0), (2, 0, 15, 5), (3, 1, 5, 0)]
    assert look(NOON, 25, 5, 20) == [(1, 0, 25, 10), (2, 2, 20, -10), (3, 1, 5, 0)]
    assert look(NOON + timedelta(hours=1), 26, 6, 20) == [(1, 0, 26, 11), (2, 2, 20, -10), (3, 1, 6, 1)]


# -- the pages ----------------------------------------------------------------------------------


def test_the_overview_reads_what_was_counted(page: Page, counted: None) -> None:
    html = page("/console/")
    assert 'aria-label="Refused, by reason: 3 in all, 3 at most"' in html
    assert "550 5.1.1, no such mailbox <b>2</b>" in html
    assert "452 4.2.2, mailbox full <b>1</b>" in html
    assert 'aria-label="Failed logins: 3 in all, 3 at most"' in html
    assert "POP3 <b>1</b>" in html
    assert "Web pages <b>2</b>" in html
    # Every plot has its numbers as a table, one row an hour.
    assert html.count('<th scope="row">') == 6 * 24
    assert page("/console/", hours="48").count('<th scope="row">') == 6 * 48
    assert page("/console/", hours="1000000").count('<th scope="row">') == 6 * 24


def test_the_day_view_has_a_page_of_its_own(page: Page, counted: None) -> None:
    html = page("/console/days/")
    assert "<h1>The last 30 days</h1>" in html
    assert 'aria-label="Delivered: 1 in all, 1 at most"' in html
    assert html.count('<th scope="row">') == 6 * 30
    assert page("/console/days/", days="90").count('<th scope="row">') == 6 * 90


@pytest.mark.parametrize("path", ["/console/", "/console/days/", "/console/room/"])
def test_the_pages_of_an_empty_house_say_so(page: Page, path: str) -> None:
    assert "Nothing was counted yet" in page(path)


@pytest.mark.parametrize("path", ["/console/", "/console/days/", "/console/room/", "/console/health/"])
def test_a_page_of_three_costs_the_queries_of_a_page_of_one_and_counts_nothing(
    desk: Client, open_account: Callable[..., Account], path: str
) -> None:
    def queries(number: int) -> list[str]:
        box = open_account(f"x{number}").mailbox
        Mailbox.objects.filter(pk=box.pk).update(used_bytes=number)
        beats.write(beats.Process("web", "one", number, NOON), {"connections": 1})
        DeliveryRecord.objects.create(
            at=timezone.now(), recipient="x@example.test", code=f"55{number} 5.1.1", door="smtp"
        )
        tasks.count_hours()
        tasks.rank_mailboxes()
        with CaptureQueriesContext(connection) as caught:
            assert desk.get(path).status_code == 200
        return [query["sql"] for query in caught.captured_queries]

    first = queries(1)
    queries(2)
    third = queries(3)
    assert len(third) == len(first)
    asked = [sql for sql in third if "mailboxes_hourlycount" not in sql]
    assert [sql for sql in asked if "COUNT(" in sql.upper() or "SUM(" in sql.upper()] == []
    assert [sql for sql in third if "mailboxes_message" in sql] == []


@pytest.mark.parametrize("path", ["/console/days/", "/console/room/", "/console/health/"])
def test_how_the_house_is_doing_is_not_for_administrators_of_domains(
    enter: Enter, administrator: Account, path: str
) -> None:
    assert enter(administrator).get(path).status_code == 403
    assert Client().get(path).status_code == 302


# -- room ---------------------------------------------------------------------------------------


def stored(days: int, per_day: int) -> None:
    now = timezone.now()
    for back in range(days):
        count("total_octets", now - timedelta(days=back), 10**9 + (days - back) * per_day)


def test_room_is_forecast_from_a_week_of_days(page: Page, settings: Any) -> None:
    settings.STORAGE_CAPACITY = 2 * 10**9
    stored(6, 10**7)
    assert "Counted on 6 days so far. A forecast needs 7 at least." in page("/console/room/")
    HourlyCount.objects.all().delete()
    stored(10, 10**7)
    html = page("/console/room/")
    assert "Full in about 90 days" in html
    assert "the last 10 days" in html
    assert "Room is the setting STORAGE_CAPACITY" in html


def test_room_of_a_folder_is_what_is_free_on_its_file_system(page: Page, content_root: Path) -> None:
    stored(10, 10**6)
    assert "Room is what is free on the file system of the content now" in page("/console/room/")


def test_what_shrinks_is_not_said_to_be_full(page: Page) -> None:
    stored(10, -(10**7))
    assert "What is stored does not grow." in page("/console/room/")


def test_the_largest_mailboxes_are_listed_with_their_growth(page: Page, ann: Account) -> None:
    box = ann.mailbox
    LargeMailbox.objects.create(
        rank=1, mailbox=box, used_bytes=3 * 2**20, grown_bytes=2**20, counted_at=timezone.now()
    )
    html = page("/console/room/")
    assert f'<a href="/console/accounts/{ann.pk}/">{ann.login}</a>' in html
    assert "+1.0\N{NO-BREAK SPACE}MB" in html.replace("&nbsp;", "\N{NO-BREAK SPACE}") or "+1.0 MB" in html


# -- health -------------------------------------------------------------------------------------


def test_the_health_page_tells_who_lives_and_who_is_gone(page: Page) -> None:
    now = timezone.now()
    beats.write(beats.Process("smtpd", "mail1", 11, now), {"connections": 7}, now)
    beats.write(beats.Process("pop3d", "mail1", 12, now), {}, now - timedelta(seconds=61))
    beats.write(beats.Process("pop3d", "mail1", 13, now), {}, now - timedelta(days=2))
    html = page("/console/health/")
    assert "<code>mail1</code> process 11" in html
    assert "<dt>Connections</dt><dd>7</dd>" in html
    assert 'process 12</span> <span class="tag bad">gone</span>' in html
    assert "process 13" not in html
    assert "POP3 (pop3d): no process is running." in html
    assert "Incoming mail (smtpd): no process is running." not in html


def test_a_process_that_comes_back_is_no_longer_gone(page: Page) -> None:
    now = timezone.now()
    process = beats.Process("smtpd", "mail1", 11, now)
    beats.write(process, {}, now - timedelta(minutes=5))
    beats.write(process, {}, now)
    living, gone = beats.known(now)
    assert ([row.name for row in living], gone) == (["smtpd@mail1:11"], [])


@pytest.mark.django_db
def test_who_has_been_gone_for_a_day_is_forgotten() -> None:
    now = timezone.now()
    for pid, age in ((1, timedelta(days=1, seconds=1)), (2, timedelta(hours=23))):
        beats.write(beats.Process("web", "h", pid, now), {}, now - age)
    tasks.count_hours()
    assert [row.pid for row in ProcessBeat.objects.all()] == [2]


# -- plots --------------------------------------------------------------------------------------


@pytest.mark.once
def test_a_plot_says_its_numbers_in_words_and_escapes_them() -> None:
    plot = charts.stacked("<b>", "Hour", ["10:00", "11:00"], [charts.Series("<i>", [3, 0])])
    assert 'aria-label="&lt;b&gt;: 3 in all, 3 at most"' in plot.svg
    assert plot.svg.count("<rect") == 1
    assert "<b>" not in plot.svg
    assert plot.rows == [["11:00", "0"], ["10:00", "3"]]


@pytest.mark.once
def test_more_series_than_there_are_colours_are_summed_up() -> None:
    series = [charts.Series(f"s{n}", [n, 1]) for n in range(8)]
    folded = charts.fold(series)
    assert [one.name for one in folded] == ["s0", "s1", "s2", "s3", "4 others"]
    assert folded[-1].values == [4 + 5 + 6 + 7, 4]
    assert [list(one.values) for one in charts.fold(series[:5])] == [[n, 1] for n in range(5)]


@pytest.mark.once
@pytest.mark.parametrize(
    ("most", "end"),
    [(0, 1), (1, 1), (2, 2), (3, 3), (7, 8), (10, 10), (11, 20), (1000, 1000), (1001, 2000)],
)
def test_a_scale_ends_with_a_round_number(most: float, end: float) -> None:
    assert charts.nice(most) == end


@pytest.mark.once
@pytest.mark.parametrize(
    ("most", "end"), [(0, 1), (1000, 1000), (1024, 1024), (1025, 2048), (150 * 1024**2, 200 * 1024**2)]
)
def test_a_scale_of_octets_ends_with_a_round_number_of_megabytes(most: float, end: float) -> None:
    assert charts.nice(most, 1024.0) == end


# -- metrics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "Bearer wrong", "hush", "Basic hush", "Bearer hüsh"])
def test_metrics_are_not_there_without_the_token(
    client: Client, settings: Any, db: None, header: str
) -> None:
    settings.METRICS_TOKEN = "hush"
    expected = 200 if header == "hush" else 404
    assert client.get("/metrics", HTTP_AUTHORIZATION=header).status_code == expected
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 404


def scrape(client: Client, settings: Any) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels, as Prometheus' own parser reads them."""
    settings.METRICS_TOKEN = "hush"
    response = client.get("/metrics", HTTP_AUTHORIZATION="Bearer hush")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(response.content.decode()):
        assert family.documentation
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {})
            found[sample.name][labels] = sample.value
    return found


def test_metrics_are_text_that_prometheus_reads(client: Client, settings: Any, counted: None) -> None:
    now = timezone.now()
    beats.write(beats.Process("smtpd", 'a"\\b\n', 11, now), {"messages_in_total": 5}, now)
    beats.write(beats.Process("smtpd", "gone", 12, now), {"messages_in_total": 6}, now - timedelta(hours=1))
    found = scrape(client, settings)
    assert found["restante_up"] == {(("part", "content"),): 1, (("part", "database"),): 1}
    assert found["restante_hourly_refused"] == {(("hour", "last"),): 0, (("hour", "this"),): 3}
    assert found["restante_hourly_refusals"][(("reply", "550 5.1.1"),)] == 2
    assert found["restante_house_accounts"] == {(): Account.objects.count()}
    who = (("host", 'a"\\b\n'), ("kind", "smtpd"), ("process", 'smtpd@a"\\b\n:11'))
    assert found["restante_messages_in_total"] == {who: 5}
    assert found["restante_processes"][(("kind", "smtpd"),)] == 1
    assert found["restante_processes_gone"][(("kind", "smtpd"),)] == 1
    assert found["restante_processes"][(("kind", "beat"),)] == 0
