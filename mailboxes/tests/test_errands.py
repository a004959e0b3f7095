"""Errands: asked for, claimed once, watched, cancelled, given out again when a worker dies."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from celery import current_app
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError as BrokerFault

from mailboxes import errands
from mailboxes.errands import GivesWay, Refused, TooMany, Work
from mailboxes.models import Account, Errand, ErrandKind, ErrandState

pytestmark = pytest.mark.django_db

Register = Callable[[Callable[[Work], None]], None]


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Says what is done when an export is asked for."""

    def register(function: Callable[[Work], None]) -> None:
        monkeypatch.setitem(errands._runners, ErrandKind.EXPORT, function)

    return register


@pytest.fixture(autouse=True)
def given_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were put into the queue, which here is none."""
    keys: list[str] = []
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: keys.append(key))
    return keys


@pytest.fixture(autouse=True)
def written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def no_files_left() -> Iterator[None]:
    yield
    for name in _files():
        default_storage.delete(f"errands/{name}")


def _files() -> list[str]:
    try:
        return default_storage.listdir("errands")[1]
    except FileNotFoundError:
        return []


def _read(name: str) -> bytes:
    with default_storage.open(name) as file:
        content: bytes = file.read()
        return content


def _ask(account: Account, **more: Any) -> Errand:
    return errands.ask(ErrandKind.EXPORT, account, account.mailbox, **more)


def _die(errand: Errand) -> None:
    """What a worker that is killed leaves behind, ten minutes later."""
    Errand.objects.filter(pk=errand.pk).update(seen_at=timezone.now() - timedelta(minutes=10))


class Killed(BaseException):
    """What no `except Exception` sees."""


def _killed(work: Work) -> None:
    work.step(3)
    raise Killed


def _run_and_be_killed(errand: Errand) -> None:
    with pytest.raises(Killed):
        errands.run(errand.key)
    _die(errand)


# -- doing --------------------------------------------------------------------------------------


def test_an_errand_says_how_far_it_is_and_how_it_ended(ann: Account, does: Register) -> None:
    seen: list[tuple[str, int, int | None]] = []

    def export(work: Work) -> None:
        work.expect(10)
        work.step(4)
        row = Errand.objects.get(key=work.errand.key)
        seen.append((row.state, row.done, row.percent))
        work.step(6)
        work.result["messages"] = 2

    does(export)
    errand = _ask(ann, arguments={"folder": "inbox"})
    assert (errand.state, errand.is_open, errand.percent) == (ErrandState.WAITING, True, None)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert seen == [(ErrandState.RUNNING, 4, 40)]
    assert (errand.state, errand.done, errand.result) == (ErrandState.DONE, 10, {"messages": 2})
    assert errand.ended_at is not None and not errand.is_open


def test_progress_is_written_twice_a_second_at_most(
    ann: Account, does: Register, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.5)
    now = 0.0
    monkeypatch.setattr(errands, "monotonic", lambda: now)

    def export(work: Work) -> None:
        nonlocal now
        for _step in range(10):
            with django_assert_max_num_queries(2):
                for _tenth in range(100):
                    now += 0.01
                    work.step(1)

    does(export)
    errand = _ask(ann)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert errand.done == 1000


def test_what_has_ended_is_not_begun_again(ann: Account, does: Register) -> None:
    begun: list[int] = []
    does(lambda work: begun.append(work.errand.attempts))
    errand = _ask(ann)
    for _again in range(3):
        errands.run(errand.key)
    errands.run("no such key")
    assert begun == [1]


def test_one_of_a_kind_runs_for_a_mailbox_and_the_next_is_given_out_at_its_end(
    ann: Account, bob: Account, does: Register, given_out: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    order: list[str] = []
    first, second, of_bob = _ask(ann), _ask(ann), _ask(bob)

    def export(work: Work) -> None:
        order.append(work.errand.key)
        if work.errand.key == first.key:
            errands.run(second.key)
            errands.run(of_bob.key)

    does(export)
    errands.run(first.key)
    assert order == [first.key, of_bob.key]
    assert given_out == [second.key]
    errands.run(second.key)
    assert order == [first.key, of_bob.key, second.key]


def test_few_may_wait(ann: Account, bob: Account, does: Register) -> None:
    does(lambda work: None)
    asked = [_ask(ann) for _ in range(errands.OPEN_MAX)]
    with pytest.raises(TooMany):
        _ask(ann, file=ContentFile(b"refused"))
    assert _files() == []
    _ask(bob)
    errands.run(asked[0].key)
    _ask(ann)


def test_asking_puts_a_job_into_the_queue_once_it_is_committed(
    ann: Account, given_out: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        errand = _ask(ann)
        assert given_out == []
    [callback] = callbacks
    callback()
    assert given_out == [errand.key]


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_refusal_is_told_in_the_language_of_whoever_asked(ann: Account, does: Register) -> None:
    def export(work: Work) -> None:
        work.result["messages"] = 1
        raise Refused(f"{translation.get_language()}: " + _("Monday"))

    does(export)
    with translation.override("de"):
        errand = _ask(ann)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.reason, errand.result) == ("failed", "de: Montag", {"messages": 1})


def test_a_fault_of_ours_tells_nothing_of_the_inside(
    ann: Account, does: Register, caplog: pytest.LogCaptureFixture
) -> None:
    def export(work: Work) -> None:
        raise RuntimeError("at /srv/secret/place")

    does(export)
    errand = _ask(ann, secret="a password")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.secret) == (ErrandState.FAILED, "")
    assert "secret" not in errand.reason and errand.reason
    assert "RuntimeError: at /srv/secret/place" in caplog.text and "a password" not in caplog.text


def test_a_store_that_does_not_answer_is_asked_again_later_three_times(
    ann: Account, does: Register, given_out: list[str]
) -> None:
    def export(work: Work) -> None:
        raise OperationalError("away")

    does(export)
    errand = _ask(ann)
    for attempt in (1, 2):
        errands.run(errand.key)
        errand.refresh_from_db()
        assert (errand.state, errand.attempts) == (ErrandState.WAITING, attempt)
        assert errands.give_out_again() == 0, "not at once"
        _die(errand)
        assert errands.give_out_again() == 1
    errands.run(errand.key)
    errand.refresh_from_db()
    assert errand.state == ErrandState.FAILED and errand.reason


def test_a_killed_worker_s_errand_is_begun_again_by_another(
    ann: Account, does: Register, given_out: list[str]
) -> None:
    errand = _ask(ann)
    does(_killed)
    with pytest.raises(Killed):
        errands.run(errand.key)
    errands.run(errand.key)
    assert Errand.objects.get(pk=errand.pk).attempts == 1, "its worker may be alive"
    assert errands.give_out_again() == 0
    _die(errand)
    assert (errands.give_out_again(), given_out) == (1, [errand.key])
    does(lambda work: work.step(5))
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.attempts, errand.done) == (ErrandState.DONE, 2, 5)


def test_after_three_attempts_it_is_given_up(ann: Account, does: Register) -> None:
    errand = _ask(ann, secret="password", file=ContentFile(b"handed in"))
    does(_killed)
    for _attempt in range(errands.ATTEMPTS_MAX):
        _run_and_be_killed(errand)
    assert errands.give_out_again() == 0
    errand.refresh_from_db()
    assert (errand.state, errand.secret, errand.file, _files()) == (ErrandState.FAILED, "", "", [])
    assert errand.reason


def test_a_worker_that_was_thought_dead_hears_that_another_has_it(ann: Account, does: Register) -> None:
    """A machine that slept: what it has done meanwhile counts for nothing."""
    errand = _ask(ann, file=ContentFile(b"handed in"))
    heard: list[str] = []

    def another(work: Work) -> None:
        assert _read(work.errand.file) == b"handed in"
        work.result["by"] = "the second"

    def slept(work: Work) -> None:
        _die(errand)
        does(another)
        errands.run(errand.key)
        work.result["by"] = "the first"
        try:
            work.step()
        except errands.Stopped:
            heard.append("stopped")
            raise

    does(slept)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result, heard) == (ErrandState.DONE, {"by": "the second"}, ["stopped"])


def test_a_queue_that_is_away_is_no_error(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def away(*_: Any, **__: Any) -> None:
        raise BrokerFault("Connection refused")

    monkeypatch.setattr("celery.app.base.Celery.send_task", away)
    errands._give_out("key")


def test_a_thread_of_a_web_process_finds_the_queue_of_this_house() -> None:
    found: list[Any] = []

    def look() -> None:
        app: Any = current_app
        found.extend([app.main, app.amqp.router.route({}, errands.JOB)["queue"].name])

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert found == ["restante", "errands"]


# -- giving way ---------------------------------------------------------------------------------


def test_what_gives_way_goes_on_with_what_it_has_and_has_not_failed(
    ann: Account, does: Register, given_out: list[str]
) -> None:
    turns = errands.ATTEMPTS_MAX + 4

    def export(work: Work) -> None:
        work.expect(turns)
        work.result["messages"] = work.result.get("messages", 0) + 1
        work.step(work.result["messages"])
        if work.result["messages"] < turns:
            raise GivesWay

    does(export)
    errand = _ask(ann)
    for turn in range(1, turns):
        errands.run(errand.key)
        errand.refresh_from_db()
        assert (errand.state, errand.failures, errand.done) == (ErrandState.WAITING, 0, turn)
        assert errand.has_begun
    assert given_out == [errand.key] * (turns - 1)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == (ErrandState.DONE, {"messages": turns})


def test_another_of_the_same_mailbox_has_its_turn_first(
    ann: Account, does: Register, given_out: list[str]
) -> None:
    def gives_way(work: Work) -> None:
        raise GivesWay

    does(gives_way)
    first, second = _ask(ann), _ask(ann)
    errands.run(first.key)
    assert given_out == [second.key, first.key]


def test_what_failed_after_a_turn_is_tried_three_times_again(ann: Account, does: Register) -> None:
    def gives_way(work: Work) -> None:
        raise GivesWay

    errand = _ask(ann)
    for _attempt in range(errands.ATTEMPTS_MAX - 1):
        does(_killed)
        _run_and_be_killed(errand)
    does(gives_way)
    errands.run(errand.key)
    for _attempt in range(errands.ATTEMPTS_MAX):
        assert Errand.objects.get(pk=errand.pk).is_open
        does(_killed)
        _run_and_be_killed(errand)
    assert errands.give_out_again() == 0
    errand.refresh_from_db()
    assert errand.state == ErrandState.FAILED


@pytest.mark.parametrize("ends", [GivesWay, OperationalError])
def test_what_is_cancelled_at_the_end_of_an_attempt_does_not_wait_for_ever(
    ann: Account, does: Register, ends: type[Exception]
) -> None:
    def export(work: Work) -> None:
        work.result["messages"] = 2
        errands.cancel(work.errand)
        raise ends

    does(export)
    errand = _ask(ann)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == (ErrandState.CANCELLED, {"messages": 2})


def test_what_gave_way_is_cancelled_at_once_and_tells_what_it_has(ann: Account, does: Register) -> None:
    def gives_way(work: Work) -> None:
        work.result["messages"] = 2
        raise GivesWay

    does(gives_way)
    errand = _ask(ann)
    errands.run(errand.key)
    errands.cancel(errand)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == (ErrandState.CANCELLED, {"messages": 2})


# -- cancelling ---------------------------------------------------------------------------------


def test_what_waits_is_cancelled_at_once(ann: Account, does: Register) -> None:
    does(lambda work: pytest.fail("it was cancelled"))
    errand = _ask(ann, secret="password", file=ContentFile(b"handed in"))
    assert errand.secret and "password" not in errand.secret and len(_files()) == 1
    errands.cancel(errand)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.secret, errand.file, _files()) == (ErrandState.CANCELLED, "", "", [])


def test_what_runs_stops_at_its_next_step_and_says_how_far_it_was(ann: Account, does: Register) -> None:
    def export(work: Work) -> None:
        for number in range(10):
            if number == 3:
                errands.cancel(work.errand)
            work.step(1)
            work.result["messages"] = number + 1

    does(export)
    errand = _ask(ann)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == (ErrandState.CANCELLED, {"messages": 3})


def test_what_a_dead_worker_left_is_cancelled_without_a_worker(ann: Account, does: Register) -> None:
    errand = _ask(ann)
    does(_killed)
    _run_and_be_killed(errand)
    errands.cancel(errand)
    assert errands.give_out_again() == 0
    errand.refresh_from_db()
    assert errand.state == ErrandState.CANCELLED


def test_what_has_ended_stays_as_it_ended(ann: Account, does: Register) -> None:
    does(lambda work: None)
    errand = _ask(ann)
    errands.run(errand.key)
    errands.cancel(errand)
    errand.refresh_from_db()
    assert (errand.state, errand.cancel_asked) == (ErrandState.DONE, False)


# -- files --------------------------------------------------------------------------------------


def test_a_file_that_was_handed_in_goes_in_the_end_and_one_that_was_made_stays(
    ann: Account, does: Register
) -> None:
    def export(work: Work) -> None:
        work.keep(ContentFile(_read(work.errand.file) + b" and made"), days=7)

    does(export)
    errand = _ask(ann, file=ContentFile(b"handed in"))
    handed_in = errand.file
    errands.run(errand.key)
    errand.refresh_from_db()
    assert _read(errand.file) == b"handed in and made"
    assert not default_storage.exists(handed_in) and errand.can_be_fetched
    errands.forget_file(errand)
    errand.refresh_from_db()
    assert (errand.file, errand.can_be_fetched, _files()) == ("", False, [])


def test_files_and_errands_go_when_their_time_is_over(ann: Account, does: Register, later: Any) -> None:
    does(lambda work: work.keep(ContentFile(b"export"), days=7))
    errand = _ask(ann)
    errands.run(errand.key)
    assert errands.forget_old(later(days=6)) == 0 and len(_files()) == 1
    assert errands.forget_old(later(days=8)) == 1 and _files() == []
    assert errands.forget_old(later(days=29)) == 0
    assert errands.forget_old(later(days=31)) == 1
    assert not Errand.objects.exists()


def test_files_that_no_errand_names_go_after_a_day(ann: Account, later: Any) -> None:
    errands.store_file(ContentFile(b"a dead worker's"))
    errand = _ask(ann, file=ContentFile(b"waits"))
    assert errands.forget_old() == 0
    assert errands.forget_old(later(days=2)) == 1
    assert _files() == [errand.file.removeprefix("errands/")]


def test_nobody_finds_another_s_errand(ann: Account, bob: Account) -> None:
    errand = _ask(ann)
    assert errands.find(ann, errand.key, [ErrandKind.EXPORT]) == errand
    assert errands.find(bob, errand.key, [ErrandKind.EXPORT]) is None
    assert errands.find(ann, errand.key, [ErrandKind.IMPORT]) is None
    assert errands.of_account(bob, ErrandKind.values) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_the_same_moment_no_more_are_taken_than_may_wait(ann: Account) -> None:
    """Parallel uploads of one account: none may look how many are open before another has written."""
    many = errands.OPEN_MAX + 5
    together = Barrier(many)
    refused: list[Exception] = []

    def upload() -> None:
        try:
            together.wait()
            _ask(ann, file=ContentFile(b"handed in"))
        except TooMany as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [Thread(target=upload) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Errand.objects.count(), len(refused)) == (errands.OPEN_MAX, many - errands.OPEN_MAX)
    assert len(_files()) == errands.OPEN_MAX, "what was refused is not kept"


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_want_it_at_the_same_moment(ann: Account, does: Register) -> None:
    begun: list[int] = []
    does(lambda work: begun.append(work.errand.attempts))
    errand = _ask(ann)

    def worker() -> None:
        try:
            errands.run(errand.key)
        finally:
            connection.close()

    threads = [Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [1]
