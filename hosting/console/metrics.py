"""What there is to watch, of every process, in Prometheus' text format (exposition format 0.0.4)."""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from hosting.console.health import KINDS, House, look
from hosting.serving import commands
from mailboxes import counts
from mailboxes.models import ProcessBeat

TYPE = "text/plain; version=0.0.4; charset=utf-8"

# What processes tell in their beats: name there, name here, kind, what it is.
# A counter counts since its process began; one that is started again is another process.
FIGURES = (
    ("cpu_seconds", "cpu_seconds_total", "counter", "Processor time used."),
    ("memory_bytes", "memory_bytes", "gauge", "Resident memory."),
    ("faults", "faults_total", "counter", "Errors written to the log."),
    ("connections", "connections", "gauge", "Connections that are open."),
    ("connections_total", "connections_total", "counter", "Connections that were taken."),
    ("connections_refused_total", "connections_refused_total", "counter", "Connections without a place."),
    ("waiting", "verbs_waiting", "gauge", "Verbs that run in a thread, or wait for one."),
    ("messages_in_total", "messages_in_total", "counter", "Messages that were delivered, by recipient."),
    ("refused_total", "recipients_refused_total", "counter", "Recipients that were refused."),
    ("octets_in_total", "octets_in_total", "counter", "Octets of messages that came."),
    ("logins_total", "logins_total", "counter", "POP3 logins."),
    ("logins_refused_total", "logins_refused_total", "counter", "POP3 logins that were refused."),
    ("messages_out_total", "messages_out_total", "counter", "Messages that were fetched by POP3."),
    ("octets_out_total", "octets_out_total", "counter", "Octets of messages that were sent by POP3."),
    ("deleted_total", "messages_deleted_total", "counter", "Messages that were deleted by POP3."),
    ("requests_running", "requests_running", "gauge", "Web requests that are being answered."),
    ("request_seconds_total", "request_seconds_total", "counter", "Time spent on web requests."),
    ("jobs_total", "jobs_total", "counter", "Jobs that a worker took."),
    ("jobs_failed_total", "jobs_failed_total", "counter", "Jobs that failed."),
    ("jobs_running", "jobs_running", "gauge", "Jobs that are being done."),
    ("jobs_set_total", "jobs_set_total", "counter", "Jobs that beat set."),
)
RESTARTS_TEXT = "Workers of a door that were started in the place of one that ended unasked."
ANSWERS = ("2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class Metric:
    """`samples` are labels, as written between braces, and values."""

    name: str
    kind: str
    text: str
    samples: Sequence[tuple[str, float]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP restante_{self.name} {self.text}"
        yield f"# TYPE restante_{self.name} {self.kind}"
        for labels, value in self.samples:
            yield f"restante_{self.name}{labels} {float(value):.15g}"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Not there for who lacks METRICS_TOKEN."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    token = settings.METRICS_TOKEN.encode()
    if not token or not hmac.compare_digest(given, token):
        raise Http404
    lines = [line for metric in every_metric(look()) for line in metric.lines()]
    return HttpResponse("\n".join(lines) + "\n", content_type=TYPE)


def every_metric(house: House) -> Iterator[Metric]:
    """What can be told: all of it, or without the database what does not lie there."""
    up = [(labels(part=part.name), float(part.answer.good)) for part in house.parts]
    yield Metric("up", "gauge", "1 while a part that is needed answers.", up)
    seconds = [(labels(part=part.name), part.answer.seconds) for part in house.parts]
    yield Metric("answer_seconds", "gauge", "How long a part took to answer.", seconds)
    if house.days is not None:
        text = "Whole days until the certificate of the doors expires."
        yield Metric("certificate_days_left", "gauge", text, [("", house.days)])
    for number, what in enumerate(("free", "size")):
        room = [(labels(place=place), sizes[number]) for place, sizes in house.disks.items()]
        yield Metric(f"disk_{what}_bytes", "gauge", f"File system: octets, {what}.", room)
    if house.jobs_waiting is not None:
        yield Metric("jobs_waiting", "gauge", "Jobs that no worker has taken.", [("", house.jobs_waiting)])
    if house.database.good:
        yield from _processes(house)
        yield from _counted()


def labels(**values: str) -> str:
    """Labels in braces, their values escaped as the format says."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def _processes(house: House) -> Iterator[Metric]:
    alive = [(labels(kind=kind), len(house.living_of(kind))) for kind in KINDS]
    yield Metric("processes", "gauge", "Processes that live, by kind.", alive)
    gone = [(labels(kind=kind), len(house.gone_of(kind))) for kind in KINDS]
    yield Metric("processes_gone", "gauge", "Processes that stopped without a word within a day.", gone)
    rows = house.living
    began = [(_whose(row), row.started_at.timestamp()) for row in rows]
    yield Metric("start_time_seconds", "gauge", "When a process began, in Unix time.", began)
    now = timezone.now()
    age = [(_whose(row), (now - row.seen_at).total_seconds()) for row in rows]
    yield Metric("beat_age_seconds", "gauge", "How old a process's latest figures are.", age)
    for name, metric, kind, text in FIGURES:
        told = [(_whose(row), row.figures[name]) for row in rows if name in row.figures]
        yield Metric(metric, kind, text, told)
    answers = [
        (_whose(row, answer=answer), row.figures[name])
        for row in rows
        for answer in ANSWERS
        if (name := f"requests_{answer}_total") in row.figures
    ]
    yield Metric("requests_total", "counter", "Web requests by kind of answer.", answers)
    told = [
        (_whose(row, command=name, result=result), times)
        for row in rows
        for name, result, times in commands.read(row.figures)
    ]
    yield Metric("commands_total", "counter", "POP3, LMTP and SMTP commands by name and result.", told)
    yield Metric("worker_restarts_total", "counter", RESTARTS_TEXT, [*_restarts(rows).items()])


def _restarts(rows: Sequence[ProcessBeat]) -> dict[str, float]:
    """Each worker tells the count of its parent, which does not beat; one that has gone told less."""
    told: dict[str, float] = {}
    for row in rows:
        if (supervisor := row.figures.get("supervisor")) is not None:
            parent = labels(kind=row.kind, host=row.host, supervisor=str(supervisor))
            told[parent] = max(told.get(parent, 0), row.figures["worker_restarts_total"])
    return told


def _whose(row: ProcessBeat, **more: str) -> str:
    return labels(process=row.name, kind=row.kind, host=row.host, **more)


def _counted() -> Iterator[Metric]:
    """What the worker counts, every five minutes."""
    for name, value in counts.totals().items():
        yield Metric(f"house_{name}", "gauge", f"{name.capitalize()} in all, as last counted.", [("", value)])
    hours: Mapping[str, Sequence[tuple[object, int]]] = counts.hours(2)
    for name in counts.FLOWS:
        last, this = (value for _, value in hours.get(name, ((None, 0), (None, 0))))
        text = f"{name} in this hour so far and in the one before, as last counted."
        yield Metric(f"hourly_{name}", "gauge", text, [('{hour="this"}', this), ('{hour="last"}', last)])
    refusals = [
        (labels(reply=name.removeprefix("refused ")), values[-1][1])
        for name, values in sorted(hours.items())
        if name.startswith("refused ")
    ]
    yield Metric("hourly_refusals", "gauge", "Refused recipients of this hour, by reply.", refusals)
