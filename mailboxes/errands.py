"""Errands: long work that somebody asked for, done by a worker, watched and cancelled by whoever asked.

    ask(...)            one row, and a job in the queue; the row is what counts
    run(key)            the worker: claims the row, does what is registered for its kind, says how it ended
    give_out_again()    every half minute: what no worker took, and what a worker that died has left

A runner is a function of a Work, registered by `@runner(kind)` in a module that `mailboxes/tasks.py` imports.
It says how far it is (`work.step`), which is also where it hears that it shall stop; it fills `work.result`
as it goes, and must bear being begun twice. Why it cannot be done it says by `Refused`; that others shall
have a turn before it goes on, by `GivesWay`.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError as BrokerFault

from mailboxes.exceptions import Invalid, StoreFull, StoreUnavailable
from mailboxes.messages import brought_by
from mailboxes.models import Account, Errand, ErrandState, Mailbox
from mailboxes.secrets_at_rest import Unreadable, decrypt, encrypt

log = logging.getLogger(__name__)

JOB = "mailboxes.tasks.run_errand"
# Of one kind for one mailbox: one runs, the others wait.
OPEN_MAX = 3
ATTEMPTS_MAX = 3
# Progress is written, and a wish to cancel is noticed, this often; a page asks every two seconds.
WRITE_SECONDS = 0.5
# A worker that has said nothing for so long is dead: no step of a runner takes as long.
DEAD_AFTER = timedelta(minutes=5)
# A job that no worker has taken by now may have been lost with its broker.
LOST_AFTER = timedelta(seconds=30)
GIVEN_OUT_AT_ONCE = 100
# Files of one kind that are kept for an account: each may be as large as its mailbox.
FILES_MAX = 3
KEPT_DAYS = 30
FILE_DAYS = 7
# Where files lie in the default storage. A file that no errand names is a dead worker's, or an uploader's.
FOLDER = "errands"
ORPHANED_AFTER = timedelta(days=1)
REASON_MAX = 300

OPEN = (ErrandState.WAITING, ErrandState.RUNNING)

Runner = Callable[["Work"], None]
_runners: dict[str, Runner] = {}


class TooMany(Invalid):
    """So many errands of this kind are open that another one has to wait."""


class Refused(Exception):
    """It cannot be done; the text says why, to whoever asked."""


class GivesWay(Exception):
    """It has had its turn and is not done: it goes on behind all that wait, with what it has."""


class Stopped(Exception):
    """Raised by `Work.step`: end now, and leave things as they are. Runners clean up and let it pass."""


class _Cancelled(Stopped):
    """Whoever asked wants it no more."""


class _Superseded(Stopped):
    """Another worker has it, or it is gone: this one is no longer asked to say anything."""


def runner(kind: str) -> Callable[[Runner], Runner]:
    """Register what does errands of a kind."""

    def register(function: Runner) -> Runner:
        _runners[kind] = function
        return function

    return register


class Work:
    """An errand in the hands of the worker that claimed it.

    `result` is what is told in the end, whatever way it ends; numbers and short texts, for it becomes JSON.
    It begins with what earlier attempts have left in the row.
    """

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.result: dict[str, Any] = dict(errand.result)
        self._done = 0
        self._written = monotonic()

    @property
    def mailbox(self) -> Mailbox:
        assert self.errand.mailbox is not None, "asked for without a mailbox"
        return self.errand.mailbox

    @property
    def arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = self.errand.arguments
        return arguments

    def secret(self) -> str:
        """What was given in confidence. Refused: it cannot be read any more."""
        try:
            return decrypt(self.errand.secret)
        except Unreadable:
            raise Refused(_("The password that you entered cannot be read any more. Ask again.")) from None

    def expect(self, total: int | None) -> None:
        """Say how much there is to do, in whatever unit `step` counts."""
        self._write(total=total)

    def step(self, done: int = 0) -> None:
        """So much more is done; also says that the worker lives. Stopped: end now."""
        self._done += done
        if monotonic() - self._written >= WRITE_SECONDS:
            self._write(done=self._done)

    def check(self) -> None:
        """Stopped: end now. It only reads: a transaction may ask that must not keep others from the row."""
        row = self._row()
        if not row.filter(cancel_asked=False).exists():
            raise _Cancelled if row.exists() else _Superseded

    def note(self, done: int = 0, **result: Any) -> None:
        """Say within a transaction what it does: both are committed, or neither. Stopped: then neither is."""
        self._done += done
        self._write(done=self._done, result=self.result | result)
        self.result |= result

    def keep(self, file: "File[bytes]", days: int = FILE_DAYS) -> None:
        """Store a file that whoever asked may fetch for so long; it takes the place of what was handed in."""
        before, name = self.errand.file, store_file(file)
        until = timezone.now() + timedelta(days=days)
        if not self._row().update(file=name, file_until=until):
            remove_file(name)
            raise _Superseded
        self.errand.file, self.errand.file_until = name, until
        remove_file(before)

    def _write(self, **values: Any) -> None:
        self._written = monotonic()
        row = self._row()
        if not row.filter(cancel_asked=False).update(seen_at=timezone.now(), **values):
            raise _Cancelled if row.exists() else _Superseded

    def _row(self) -> Any:
        """The errand, while it is this worker's: the number of the attempt tells one worker from the next."""
        return Errand.objects.filter(
            pk=self.errand.pk, state=ErrandState.RUNNING, attempts=self.errand.attempts
        )

    def end(self, state: str, reason: str = "") -> None:
        """Say how it ended; what was handed in goes, and the secret with it."""
        kept = self.errand.file if self.errand.file_until else ""
        mine = self._row().update(
            state=state,
            reason=reason[:REASON_MAX],
            result=self.result,
            done=self._done,
            ended_at=timezone.now(),
            secret="",
            file=kept,
        )
        if mine and not kept:
            remove_file(self.errand.file)

    def give_way(self) -> None:
        """Its turn is over: it waits as if it had just been asked for, and no attempt has failed so far."""
        self._wait(done=self._done, result=self.result, forgiven=F("attempts"))

    def put_back(self) -> None:
        """It could not be done now: another try, later, unless there were enough."""
        if self.errand.failures >= ATTEMPTS_MAX:
            self.end(ErrandState.FAILED, _("Our storage did not answer. Please try again later."))
        else:
            self._wait()

    def _wait(self, **values: Any) -> None:
        """To be done later by whoever comes; unless it was to be cancelled, which nobody would hear then."""
        wanted = self._row().filter(cancel_asked=False)
        if not wanted.update(state=ErrandState.WAITING, seen_at=timezone.now(), **values):
            self.end(ErrandState.CANCELLED)


# -- asking and cancelling ----------------------------------------------------------------------


def ask(
    kind: str,
    account: Account,
    mailbox: Mailbox | None = None,
    arguments: dict[str, Any] | None = None,
    *,
    secret: str = "",
    file: "File[bytes] | None" = None,
) -> Errand:
    """Ask for long work in an account's name; it begins as soon as a worker is free.

    `arguments` hold no secret; `secret` is kept encrypted until the end; `file` is what the runner reads and
    goes in the end, too. What the runner says to people it says in the language that is active now. TooMany.
    """
    name = store_file(file) if file is not None else ""
    try:
        with transaction.atomic():
            # Whoever asks twice at the same moment waits here for himself.
            Account.objects.select_for_update().get(pk=account.pk)
            may_ask(kind, account, mailbox)
            errand = Errand.objects.create(
                key=secrets.token_hex(16),
                kind=kind,
                account=account,
                mailbox=mailbox,
                asked_at=timezone.now(),
                arguments={**(arguments or {}), "language": translation.get_language() or ""},
                secret=encrypt(secret) if secret else "",
                file=name,
            )
            transaction.on_commit(lambda: _give_out(errand.key))
    except BaseException:
        remove_file(name)
        raise
    return errand


def may_ask(kind: str, account: Account, mailbox: Mailbox | None) -> None:
    """TooMany: so much is open or lies here that another one would be refused at this moment."""
    if _open(kind, account, mailbox).count() >= OPEN_MAX:
        raise TooMany(_("You have asked for this before, and it is not done yet. Wait for its end."))
    if account.errands.filter(kind=kind, file_until__isnull=False).count() >= FILES_MAX:
        raise TooMany(_("You have several files of this kind here. Remove one first."))


def _open(kind: str, account: Account, mailbox: Mailbox | None) -> Any:
    of_whom = Q(account=account) if mailbox is None else Q(mailbox=mailbox)
    return Errand.objects.filter(of_whom, kind=kind, state__in=OPEN)


def cancel(errand: Errand) -> None:
    """Let it not be done, or be done no further; what has ended stays as it is."""
    waiting = Errand.objects.filter(pk=errand.pk, state=ErrandState.WAITING)
    if waiting.update(state=ErrandState.CANCELLED, ended_at=timezone.now(), secret="", file=""):
        remove_file(errand.file)
    else:
        Errand.objects.filter(pk=errand.pk, state=ErrandState.RUNNING).update(cancel_asked=True)


def of_account(account: Account, kinds: Collection[str], most: int = 20) -> list[Errand]:
    """The newest of those that an account asked for."""
    found = Errand.objects.filter(account=account, kind__in=kinds)
    return list(found.order_by("-asked_at", "-pk")[:most])


def find(account: Account, key: str, kinds: Collection[str]) -> Errand | None:
    """An errand that this account asked for; nobody finds another's."""
    return Errand.objects.filter(account=account, key=key, kind__in=kinds).first()


def forget_file(errand: Errand) -> None:
    """Remove what was made for an account, before its time is over."""
    if Errand.objects.filter(pk=errand.pk).exclude(state__in=OPEN).update(file="", file_until=None):
        remove_file(errand.file)


# -- doing --------------------------------------------------------------------------------------


def run(key: str) -> None:
    """Do an errand, unless somebody else does or did; how it ended is in its row."""
    work = _claim(key)
    if work is None:
        return
    errand, began = work.errand, monotonic()
    with translation.override(errand.arguments.get("language") or None):
        ended = _do(work)
    log.info("errand=%s kind=%s ended=%s ms=%d", key, errand.kind, ended, (monotonic() - began) * 1000)
    others = _open(errand.kind, errand.account, errand.mailbox).exclude(pk=errand.pk)
    for waiting in others.filter(state=ErrandState.WAITING).order_by("asked_at")[:1]:
        _give_out(waiting.key)
    if ended == "gave_way":
        _give_out(key)


def _do(work: Work) -> str:
    try:
        _runners[work.errand.kind](work)
    except _Cancelled:
        work.end(ErrandState.CANCELLED)
        return "cancelled"
    except _Superseded:
        return "superseded"
    except Refused as why:
        work.end(ErrandState.FAILED, str(why))
        return "refused"
    except GivesWay:
        work.give_way()
        return "gave_way"
    except (StoreUnavailable, StoreFull, OperationalError, InterfaceError, OSError):
        log.exception("errand=%s kind=%s attempt=%d", work.errand.key, work.errand.kind, work.errand.attempts)
        work.put_back()
        return "put_back"
    except Exception:
        log.exception("errand=%s kind=%s", work.errand.key, work.errand.kind)
        work.end(ErrandState.FAILED, _("Something went wrong on our side. We have written it down."))
        return "failed"
    work.end(ErrandState.DONE)
    return "done"


def _claim(key: str) -> Work | None:
    """Take an errand that waits, or that a dead worker has left; None: it is not to be begun now."""
    now = timezone.now()
    free = Q(state=ErrandState.WAITING) | _dead(now)
    with transaction.atomic():
        # Two workers that want two errands of one mailbox, of which one may run, meet at this row.
        if Account.objects.select_for_update(of=("self",)).filter(errands__key=key).first() is None:
            return None
        errand = Errand.objects.get(key=key)
        running = _open(errand.kind, errand.account, errand.mailbox).filter(state=ErrandState.RUNNING)
        if running.exclude(_dead(now)).exists():
            return None
        may = Errand.objects.filter(free, key=key, cancel_asked=False)
        taken = may.filter(attempts__lt=F("forgiven") + ATTEMPTS_MAX).update(
            state=ErrandState.RUNNING, started_at=now, seen_at=now, attempts=F("attempts") + 1
        )
        if not taken:
            return None
    return Work(Errand.objects.select_related("account", "mailbox").get(key=key))


def _dead(now: datetime) -> Q:
    return Q(state=ErrandState.RUNNING, seen_at__lt=now - DEAD_AFTER)


def _give_out(key: str, expires: float | None = None) -> None:
    """Put an errand into the queue. A queue that is away is no error: `give_out_again` comes by."""
    try:
        current_app.send_task(JOB, [key], expires=expires, retry=False)
    except (BrokerFault, OSError) as error:
        log.warning("errand=%s not_given_out error=%s", key, type(error).__name__)


def give_out_again() -> int:
    """Give out what no worker has taken, and what a dead one has left; end what has had its attempts.

    Returns how many were given out.
    """
    now = timezone.now()
    given = 0
    lost = Q(state=ErrandState.WAITING) & (
        Q(seen_at=None, asked_at__lt=now - LOST_AFTER) | Q(seen_at__lt=now - LOST_AFTER)
    )
    for errand in Errand.objects.filter(lost | _dead(now)).order_by("asked_at")[:GIVEN_OUT_AT_ONCE]:
        if errand.state == ErrandState.RUNNING and (errand.cancel_asked or errand.failures >= ATTEMPTS_MAX):
            _end_of_the_dead(errand)
        else:
            # If it is not taken before this comes by again, one job in the queue is enough.
            _give_out(errand.key, expires=LOST_AFTER.total_seconds())
            given += 1
    return given


def _end_of_the_dead(errand: Errand) -> None:
    work = Work(errand)
    if errand.mailbox_id and (brought := brought_by(errand.mailbox_id, errand.pk)):
        work.result["imported"] = brought
    with translation.override(errand.arguments.get("language") or None):
        if errand.cancel_asked:
            work.end(ErrandState.CANCELLED)
        else:
            log.error("errand=%s kind=%s given_up attempts=%d", errand.key, errand.kind, errand.attempts)
            work.end(ErrandState.FAILED, _("It broke off several times. We have written it down."))


# -- files --------------------------------------------------------------------------------------


def store_file(file: "File[bytes]") -> str:
    """Store a file under a name that nobody guesses, and say it; an upload is moved, not copied."""
    return default_storage.save(f"{FOLDER}/{secrets.token_hex(16)}", file)


def remove_file(name: str) -> None:
    if name:
        default_storage.delete(name)


def forget_old(now: datetime | None = None) -> int:
    """Remove files whose time is over or that no errand names, and errands that ended long ago."""
    now = now or timezone.now()
    removed = 0
    for errand in Errand.objects.filter(file_until__lt=now):
        forget_file(errand)
        removed += 1
    ended = Errand.objects.exclude(state__in=OPEN).filter(ended_at__lt=now - timedelta(days=KEPT_DAYS))
    return removed + ended.delete()[0] + _remove_orphans(now) + _remove_half_made(now)


def _remove_orphans(now: datetime) -> int:
    try:
        names = {f"{FOLDER}/{name}" for name in default_storage.listdir(FOLDER)[1]}
    except FileNotFoundError:
        return 0
    orphans = names - set(Errand.objects.exclude(file="").values_list("file", flat=True))
    old = [name for name in orphans if default_storage.get_modified_time(name) < now - ORPHANED_AFTER]
    for name in old:
        remove_file(name)
    return len(old)


def _remove_half_made(now: datetime) -> int:
    """What was being uploaded or written when its process died lies where Django keeps temporary files."""
    before, removed = (now - ORPHANED_AFTER).timestamp(), 0
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).glob("*.upload*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
