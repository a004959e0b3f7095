"""How the house is doing: which processes live, what answers, and how long certificate and disks will do."""

from dataclasses import dataclass, field

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hosting import probes
from hosting.probes import Answer, Question
from mailboxes import beats
from mailboxes.models import ProcessBeat

# A certificate is to be renewed before; a week is when the self-signed one is made anew.
DAYS_WARN = 14
# Below this share a file system that grows by itself wants attention.
FREE_WARN = 0.10
# Every house has at least one of each.
KINDS = ("web", "smtpd", "pop3d", "worker", "errands", "beat")
KIND_TEXTS: dict[str, str | Promise] = {
    "web": _("Web pages"),
    "smtpd": _("Incoming mail (smtpd)"),
    "pop3d": _("POP3 (pop3d)"),
    "worker": _("Jobs (worker)"),
    "errands": _("Imports and exports (errands)"),
    "beat": _("Regular jobs (beat)"),
}
PART_TEXTS: dict[str, str | Promise] = {
    "database": _("Database"),
    "content": _("Content storage"),
    "redis": _("Redis"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Something that the house needs and that is asked whether it answers."""

    name: str
    answer: Answer

    @property
    def text(self) -> str | Promise:
        return PART_TEXTS[self.name]

    @property
    def milliseconds(self) -> int:
        return round(self.answer.seconds * 1000)


@dataclass(frozen=True, slots=True)
class Disk:
    place: str
    free: int
    size: int

    @property
    def low(self) -> bool:
        return self.free < FREE_WARN * self.size

    @property
    def percent(self) -> int:
        return round(100 * self.free / self.size) if self.size else 0


@dataclass(frozen=True, slots=True)
class Kind:
    """The processes of one kind. `figures` are the sums of what the living ones tell."""

    name: str
    living: list[ProcessBeat]
    gone: list[ProcessBeat]

    @property
    def text(self) -> str | Promise:
        return KIND_TEXTS.get(self.name, self.name)


@dataclass(frozen=True, slots=True)
class House:
    """`days`: whole days until the certificate expires, None: there is none yet, or it cannot be read.
    `jobs_waiting`: None when the queue cannot be asked."""

    parts: list[Part]
    days: int | None = None
    disks: dict[str, tuple[int, int]] = field(default_factory=dict)
    jobs_waiting: int | None = None
    living: list[ProcessBeat] = field(default_factory=list)
    gone: list[ProcessBeat] = field(default_factory=list)

    @property
    def database(self) -> Answer:
        return self.parts[0].answer

    @property
    def renew(self) -> bool:
        return self.days is not None and self.days < DAYS_WARN

    @property
    def rooms(self) -> list[Disk]:
        return [Disk(place, free, size) for place, (free, size) in self.disks.items()]

    @property
    def kinds(self) -> list[Kind]:
        names = [*KINDS, *sorted({row.kind for row in (*self.living, *self.gone)} - set(KINDS))]
        return [Kind(name, self.living_of(name), self.gone_of(name)) for name in names]

    def living_of(self, kind: str) -> list[ProcessBeat]:
        return [row for row in self.living if row.kind == kind]

    def gone_of(self, kind: str) -> list[ProcessBeat]:
        return [row for row in self.gone if row.kind == kind]

    @property
    def wrong(self) -> list[str | Promise]:
        """What somebody should look at, in words; empty: all is well."""
        found: list[str | Promise] = [
            _("%(part)s does not answer.") % {"part": part.text}
            for part in self.parts
            if not part.answer.good
        ]
        if self.database.good:
            found += [
                _("%(process)s: no process is running.") % {"process": kind.text}
                for kind in self.kinds
                if not kind.living
            ]
        if self.renew:
            found.append(_("The certificate of the doors expires soon."))
        found += [
            _("Little room is left on the disk of %(place)s.") % {"place": disk.place}
            for disk in self.rooms
            if disk.low
        ]
        return found


def look() -> House:
    """Ask everything at the same time; within two seconds, whatever hangs."""
    questions: dict[str, Question] = {
        "database": probes.database,
        "content": probes.content,
        "jobs": probes.jobs_waiting,
        "disks": probes.disks,
        "certificate": probes.certificate_days,
    }
    answers = probes.ask(questions)
    parts = [Part("database", answers["database"]), Part("content", answers["content"])]
    if settings.REDIS_URL:
        parts.append(Part("redis", answers["jobs"]))
    living, gone = beats.known() if parts[0].answer.good else ([], [])
    return House(
        parts,
        answers["certificate"].value,
        answers["disks"].value or {},
        answers["jobs"].value,
        living,
        gone,
    )
