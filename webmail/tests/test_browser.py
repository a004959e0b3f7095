"""The webmail as its readers have it: in Chromium, by mouse, by keyboard, by thumb, and without scripts."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect

from conftest import IN_CHROMIUM
from mailboxes import app_passwords, messages
from mailboxes.models import Account, Folder, Message
from mailboxes.tests.test_messages import pop3_session
from webmail.tests.conftest import LETTER, PASSWORD
from webmail.tests.waiting import PATIENCE, anew, leads_to, route, settled, until_answered, until_heard

pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
AXE = (Path(__file__).parent / "vendor" / "axe" / "axe.min.js").read_text()
# What the page does after some seconds (news.js, toasts.js, keys.js) it does an hour later: on a machine that
# is busy, seconds pass between two lines of a test.
NOTHING_GOES_AWAY_BY_ITSELF = """for (const name of ["setTimeout", "setInterval"]) {
  const real = window[name];
  const LATER = 3_600_000;
  window[name] = (what, ms, ...more) => real(what, ms === 1_500 || ms >= 6_000 ? LATER : ms, ...more);
}"""
# Nothing is painted before it is laid out, and what a style names is asked for when it is.
LAID_OUT = "() => document.documentElement.getBoundingClientRect().height"
PAINTED = (
    "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
Post = Callable[..., list[Message]]
Visit = Callable[..., Any]


@pytest.fixture
def visit(chromium: Any, live_server: Any, ann: Account) -> Iterator[Visit]:
    """Opens a page as ann. Whatever a page says on its console, or asks of another host, fails the test.

    When a test ends, nothing of it is under way any more: see `until_answered`.
    """
    said: list[str] = []
    contexts = []

    def make(path: str = "/mail/", *, login: bool = True, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        context.add_init_script(NOTHING_GOES_AWAY_BY_ITSELF)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)  # of its pages too, and of what a route fetches
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: _note_stranger(request.url, live_server.url, said))
        page.goto(path)
        if login:
            log_in(page, ann)
        return page

    make.said = said  # type: ignore[attr-defined]
    make.expected = ""  # type: ignore[attr-defined]  # see `refused`
    yield make
    for context in contexts:
        context.close()
    until_answered(live_server)
    expected = make.expected  # type: ignore[attr-defined]
    assert [text for text in said if not expected or expected not in text] == []
    assert said or not expected


def log_in(page: Any, account: Account) -> None:
    """From the page that asks for it to the one that was asked for."""
    # Who types before the browser has put the focus there is told of it, on its console.
    expect(page.locator("#login")).to_be_focused()
    page.fill("#login", account.login)
    page.fill("#password", PASSWORD)
    with anew(page):
        page.click("text=Log in")
    assert urlsplit(page.url).path.startswith("/mail/")


def refused(visit: Visit, status: int) -> None:
    """Chromium itself reports each refusal, and htmx the code: that, and nothing else, the page may say.

    Not taken back once it is said: of several reports, one comes later than the other.
    """
    visit.expected = str(status)  # type: ignore[attr-defined]


def _note_stranger(url: str, ours: str, said: list[str]) -> None:
    # blob: is what a page has made itself, and asks nobody.
    if not url.startswith((ours, "data:", "about:", "blob:")):
        said.append(f"asked for {url}")


@pytest.fixture
def week(ann: Account, post: Post) -> list[int]:
    """Five letters, newest first."""
    now = timezone.now()
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    came = [
        post(
            ann,
            text=f"From: {day} <{day}@week.test>\r\nSubject: News of {day}\r\n\r\nIt was {day}.\r\n".encode(),
            received_at=now - timedelta(hours=5 - age),
        )[0].pk
        for age, day in enumerate(days)
    ]
    return came[::-1]


def shown(page: Any) -> list[str]:
    """The subjects in the list, as far as they are seen."""
    return [
        text.removeprefix("News of ")
        for text in page.locator(".row:not(.leaving) .subject").all_inner_texts()
    ]


def focused(page: Any) -> str:
    """The number of the row that has the focus."""
    return str(page.evaluate("document.activeElement.closest('.row')?.dataset.id ?? ''"))


def wait_for(page: Any, *days: str) -> None:
    """Until the list shows these, and every answer has come: after it nothing moves by itself."""
    wait_for_rows(page, *days)
    settled(page)


def wait_for_rows(page: Any, *days: str) -> None:
    page.wait_for_function(
        "days => JSON.stringify([...document.querySelectorAll('.row:not(.leaving) .subject')]"
        ".map(one => one.innerText.replace('News of ', ''))) === JSON.stringify(days)",
        arg=list(days),
    )


def test_a_reader_reads_moves_undoes_and_restores(visit: Visit, week: list[int]) -> None:
    page = visit()
    assert shown(page) == ["Friday", "Thursday", "Wednesday", "Tuesday", "Monday"]
    assert page.locator(".sidebar .count").first.inner_text().startswith("5")
    with leads_to(page, f"/mail/inbox/{week[1]}/"):
        page.click(".subject:has-text('Thursday')")
    page.wait_for_selector("#message .text:has-text('It was Thursday.')")
    expect(page.locator(".sidebar .count").first).to_have_text(re.compile("^4"))
    with leads_to(page, "/mail/inbox/"):
        page.click("#message-acts button[value=archive]")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    expect(page.locator("#message[data-open]")).to_have_count(0)
    page.click("text=Undo")
    wait_for(page, "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")

    page.check(f"#m{week[0]} input")
    page.check(f"#m{week[4]} input")
    page.click("#acts button[value=trash]")
    wait_for(page, "Thursday", "Wednesday", "Tuesday")
    with leads_to(page, "/mail/trash/"):
        page.click(".sidebar a[data-folder=trash]")
    wait_for(page, "Friday", "Monday")
    page.check(f"#m{week[4]} input")
    page.click("#acts button[value=restore]")
    wait_for(page, "Friday")
    with anew(page, "/mail/inbox/"):
        page.go_back()
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")


def test_a_refused_act_is_taken_back(visit: Visit, week: list[int]) -> None:
    page = visit()
    route(page, "**/mail/acts/", lambda one: one.fulfill(status=500, body="no"))
    page.check(f"#m{week[0]} input")
    page.click("#acts button[value=archive]")
    page.wait_for_selector("text=That did not work")
    assert shown(page)[0] == "Friday"
    assert page.evaluate("document.getElementById('toasts').getAttribute('aria-live')") == "polite"
    refused(visit, 500)


def test_by_keyboard_alone(visit: Visit, week: list[int]) -> None:
    page = visit()
    keys = page.keyboard
    keys.press("j")
    assert focused(page) == str(week[0])
    keys.press("j")
    keys.press("e")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    assert focused(page) == str(week[2])
    keys.press("z")
    wait_for(page, "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")
    page.locator(f"#a{week[2]}").focus()
    keys.press("o")
    page.wait_for_selector("#message .text:has-text('It was Wednesday.')")
    keys.press("j")
    page.wait_for_selector("#message .text:has-text('It was Tuesday.')")
    keys.press("s")
    page.wait_for_selector(f"#m{week[3]}.starred")
    keys.press("#")
    wait_for(page, "Friday", "Thursday", "Wednesday", "Monday")
    assert focused(page) == str(week[4])
    keys.press("k")
    keys.press("x")
    assert page.locator(f"#m{week[2]} input").is_checked()
    keys.press("k")
    keys.press("x")
    keys.press("!")
    wait_for(page, "Friday", "Monday")
    keys.press("?")
    page.wait_for_selector("#help[open]")
    keys.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    with leads_to(page, "/mail/trash/"):
        keys.press("g")
        keys.press("t")
    wait_for(page, "Tuesday")
    with leads_to(page, "/mail/inbox/"):
        keys.press("g")
        keys.press("i")
    assert Message.objects.filter(folder__kind="junk").count() == 2


class Held:
    """Requests for acts that wait until they are let go, one by one."""

    def __init__(self, page: Any) -> None:
        self.page, self.asked = page, 0
        self._routes: list[Any] = []
        route(page, "**/mail/acts/", self._hold)

    def _hold(self, route: Any) -> None:
        self._routes.append(route)
        self.asked += 1

    def let_go(self) -> None:
        """Answers the request that was asked next, once it was asked."""
        until_heard(self.page, lambda: self._routes, "an act that is asked for")
        with self.page.expect_response("**/mail/acts/"):
            self._routes.pop(0).continue_()


def ticked(page: Any) -> list[str]:
    boxes = page.locator(".row input[name=message]:checked")
    return [str(value) for value in boxes.evaluate_all("all => all.map(box => box.value)")]


def test_what_is_done_while_an_act_is_on_its_way_stays_done(visit: Visit, week: list[int]) -> None:
    """Ticks, focus and further acts: an answer that comes late takes none of them back."""
    page = visit()
    held = Held(page)
    page.check(f"#m{week[0]} input")
    page.click("#acts button[value=archive]")
    page.wait_for_selector(f"#m{week[0]}.leaving", state="attached")
    page.check(f"#m{week[2]} input")
    page.click(f"#m{week[4]} .star")
    page.wait_for_selector(f"#m{week[4]}.starred")
    page.locator(f"#a{week[3]}").focus()
    held.let_go()
    page.wait_for_selector(f"#m{week[0]}", state="detached")
    assert page.locator(f"#m{week[4]}.starred").count() == 1, "is still on its way"
    assert (ticked(page), focused(page)) == ([str(week[2])], str(week[3]))
    held.let_go()
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")
    assert (ticked(page), focused(page)) == ([str(week[2])], str(week[3]))
    assert list(Message.objects.filter(starred=True).values_list("pk", flat=True)) == [week[4]]
    assert held.asked == 2


def test_keys_that_are_quicker_than_the_answers_all_count(visit: Visit, week: list[int]) -> None:
    page = visit()
    held = Held(page)
    page.locator(f"#a{week[0]}").focus()
    for _ in range(3):
        page.keyboard.press("e")
    wait_for_rows(page, "Tuesday", "Monday")
    for _ in range(3):
        held.let_go()
    wait_for(page, "Tuesday", "Monday")
    assert Message.objects.filter(folder__kind="archive").count() == 3
    assert focused(page) == str(week[3])


def test_an_answer_does_not_follow_its_reader_to_another_folder(visit: Visit, week: list[int]) -> None:
    page = visit()
    held = Held(page)
    page.check(f"#m{week[0]} input")
    page.click("#acts button[value=archive]")
    page.wait_for_selector(f"#m{week[0]}.leaving", state="attached")
    page.click(".sidebar a[data-folder=trash]")
    page.wait_for_selector("#list[data-folder=trash]")
    held.let_go()
    page.wait_for_selector("text=1 message archived.")
    settled(page)
    assert page.locator("#list").get_attribute("data-folder") == "trash"
    assert page.url.endswith("/mail/trash/")


def test_on_a_phone_one_pane_at_a_time(visit: Visit, week: list[int]) -> None:
    page = visit(**PHONE)
    assert page.locator("#list").is_visible() and not page.locator("#message").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.tap(".subject:has-text('Friday')")
    page.wait_for_selector("#message .text:has-text('It was Friday.')")
    expect(page.locator("#list")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    with leads_to(page, "/mail/inbox/"):
        page.tap(".message-tools .back")
    expect(page.locator("#list")).to_be_visible()
    with leads_to(page, "/mail/folders/"):
        page.tap(".list-head .to-folders")
    with leads_to(page, "/mail/archive/"):
        page.tap(".sidebar a[data-folder=archive]")
    page.goto(f"/mail/inbox/{week[1]}/")
    with leads_to(page, "/mail/inbox/"):
        page.tap("#message-acts button[value=trash]")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    expect(page.locator("#list")).to_be_visible()


def test_without_scripts_mail_is_read_and_kept(visit: Visit, week: list[int]) -> None:
    page = visit(java_script_enabled=False)
    with leads_to(page, f"/mail/inbox/{week[0]}/"):
        page.click(".subject:has-text('Friday')")
    assert "It was Friday." in page.inner_text("#message")
    with leads_to(page, "/mail/inbox/"):
        page.click("#message-acts button[value=archive]")
    assert shown(page) == ["Thursday", "Wednesday", "Tuesday", "Monday"]
    with anew(page):
        page.click("text=Undo")
    assert shown(page)[0] == "Friday"
    page.check(f"#m{week[1]} input")
    with anew(page):
        page.click("#acts button[value=trash]")
    page.goto("/mail/trash/")
    page.check(f"#m{week[1]} input")
    with leads_to(page, "/mail/acts/"):
        page.click("#acts button[value=expunge]")
    with leads_to(page, "/mail/trash/"):
        page.click("button:has-text('Remove for good')")
    assert "The trash is empty." in page.inner_text("#list")
    # What only scripts can do is not offered.
    page.goto(f"/mail/inbox/{week[0]}/")
    assert not page.locator("[data-print]").is_visible()
    assert not page.locator("#choose-page").is_visible()


def test_all_that_match_are_moved_and_come_back(visit: Visit, ann: Account, post: Post) -> None:
    for _ in range(53):
        post(ann)
    page = visit()
    page.check("#choose-page")
    page.check("#everything input")
    page.click("#acts button[value=archive]")
    page.wait_for_selector("text=53 messages archived.")
    page.wait_for_selector("text=You have read it all.")
    page.click("text=Undo")
    page.wait_for_selector("text=Undone: 53 messages.")
    assert Folder.objects.get(mailbox=ann.mailbox, kind="inbox").message_count == 53


def test_mail_is_dragged_to_a_folder(visit: Visit, ann: Account, week: list[int]) -> None:
    Folder.objects.create(mailbox=ann.mailbox, kind="own", name="Bills")
    page = visit()
    page.drag_and_drop(f"#m{week[1]} .subject", ".sidebar a:has-text('Bills')")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    page.wait_for_selector("text=1 message moved to Bills.")


def test_removing_for_good_asks(visit: Visit, ann: Account, week: list[int]) -> None:
    messages.move(ann.mailbox.pk, week[:2], Folder.objects.get(mailbox=ann.mailbox, kind="trash"))
    page = visit()
    page.goto("/mail/trash/")
    page.check(f"#m{week[0]} input")
    page.click("#acts button[value=expunge]")
    page.click("#sure button[value=no]")
    expect(page.locator("#sure")).to_be_hidden()
    assert shown(page) == ["Friday", "Thursday"]
    page.click("#acts button[value=expunge]")
    page.click("#sure button[value=yes]")
    wait_for(page, "Thursday")
    with leads_to(page, "/mail/trash/empty/"):
        page.click("text=Empty trash")
    with leads_to(page, "/mail/trash/"):
        page.click("button:has-text('Remove for good')")
    page.wait_for_selector("text=The trash is empty.")


def test_what_pop3_deleted_is_restored_with_one_click(visit: Visit, ann: Account, week: list[int]) -> None:
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    page = visit()
    page.goto("/mail/trash/")
    page.click("text=Restore all of them")
    page.wait_for_selector("text=2 messages restored.")
    assert Message.objects.filter(folder__kind="inbox").count() == 5


def test_new_mail_appears_by_itself(visit: Visit, ann: Account, week: list[int], post: Post) -> None:
    page = visit()
    page.check(f"#m{week[2]} input")
    post(ann, text=b"Subject: News of Saturday\r\n\r\nNew.\r\n")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(page, "Saturday", "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")
    expect(page.locator(f"#m{week[2]} input")).to_be_checked()
    expect(page).to_have_title(re.compile(re.escape("(6)")))


def test_a_session_that_ended_leads_to_the_login(visit: Visit, ann: Account, week: list[int]) -> None:
    from mailboxes.accounts import suspend

    page = visit()
    suspend(ann, "a reason")
    with leads_to(page, "/login/"):
        page.click(".subject:has-text('Friday')")


HOSTILE = LETTER.replace(
    b"<p onclick",
    b"""<style>@import url(https://tracker.test/a.css);
p { background: url(https://tracker.test/b.png) }</style>
<img src=x onerror="parent.document.title='stolen'"><svg onload="parent.document.title='stolen'"></svg>
<link rel=stylesheet href="https://tracker.test/c.css">
<meta http-equiv=refresh content="0;url=https://tracker.test/">
<iframe srcdoc="<script>top.document.title='stolen'</script>"></iframe><base href="https://tracker.test/">
<video poster="https://tracker.test/d.png" src="https://tracker.test/e.mp4" autoplay></video>
<form action="https://tracker.test/"><input autofocus onfocus="parent.document.title='stolen'"></form>
<table background="https://tracker.test/f.png">
<tr><td style="background:url(https://tracker.test/g.png)">x</td></tr></table>
<math><mtext><mglyph>
<style><img src=x onerror="parent.document.title='stolen'"></style></mglyph></mtext></math>
<div style="position:fixed;inset:0">over everything</div>
<p onclick""".replace(b"\n", b"\r\n"),
)


def test_hostile_html_runs_nothing_and_asks_nothing_of_anybody(
    visit: Visit, ann: Account, post: Post
) -> None:
    """`visit` fails the test when a request leaves."""
    [message] = post(ann, text=HOSTILE)
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    frame = page.frame_locator(".html-frame")
    frame.locator("b", has_text="beans").wait_for()
    page.evaluate(PAINTED)
    assert "stolen" not in page.title()
    assert (
        page.evaluate("() => { try { return frames[0].document.body.innerHTML } catch { return 'shut' } }")
        == "shut"
    )
    page.goto(f"/mail/inbox/{message.pk}/html/")
    page.evaluate(LAID_OUT)
    assert page.title() == "The garden"
    for path in ("part/2/look/", "source/"):
        page.goto(f"/mail/inbox/{message.pk}/{path}")
        assert page.title() == ""


def test_even_unsanitised_html_runs_nothing_and_asks_nothing_of_anybody(
    visit: Visit, ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second layer alone: the headers of the frame, and the policy of the page around it."""
    from mailboxes.reading import SafeHtml

    monkeypatch.setattr("webmail.letters.render_html", lambda html, **_: SafeHtml(html, 0, 0))
    [message] = post(ann, text=HOSTILE)
    page = visit()
    stopped: list[tuple[str, str]] = []
    answered: list[str] = []
    page.on("requestfailed", lambda request: stopped.append((request.failure, request.url)))
    page.on("response", lambda response: answered.append(response.url))
    page.goto(f"/mail/inbox/{message.pk}/")
    page.frame_locator(".html-frame").locator("b", has_text="beans").wait_for()
    until_heard(page, lambda: len(stopped) > 5, "what the browser has stopped")
    page.evaluate(PAINTED)
    assert "stolen" not in page.title()
    # What the browser itself has stopped never left it.
    assert {why for why, _ in stopped} == {"csp"}
    assert [url for url in answered if "tracker.test" in url] == []
    visit.said.clear()  # type: ignore[attr-defined]


def test_in_german_on_a_telephone_pages_of_the_account_fit_their_window(visit: Visit, ann: Account) -> None:
    """To the side, and downwards: what scrolls is the pane, with nothing below it."""
    Account.objects.filter(pk=ann.pk).update(language="de")
    page = visit(**PHONE)
    beyond = {}
    for path in ("", "programs/", "sessions/", "moving/", "security/", "appearance/"):
        page.goto(f"/mail/account/{path}")
        assert page.locator("html").get_attribute("lang") == "de"
        size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        beyond[path] = size != [page.viewport_size["width"], page.viewport_size["height"]] and size
    assert beyond == dict.fromkeys(beyond, False)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_serious_on_any_page(
    visit: Visit, ann: Account, week: list[int], post: Post, colours: str, size: str
) -> None:
    [letter] = post(ann, text=LETTER)
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    options: dict[str, Any] = {
        "color_scheme": colours,
        "bypass_csp": True,
        **(PHONE if size == "phone" else {}),
    }
    page = visit("/login/", login=False, **options)
    found = {"/login/": _axe(page)}
    log_in(page, ann)
    paths = ["inbox/", f"inbox/{week[2]}/", f"inbox/{letter.pk}/", "trash/", f"trash/{week[0]}/", "archive/"]
    paths += ["junk/", "folders/", "account/", "trash/empty/", f"inbox/{letter.pk}/headers/"]
    for path in paths:
        page.goto(f"/mail/{path}")
        found[path] = _axe(page)
    page.goto("/mail/inbox/")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    found["help"] = _axe(page)
    assert found == {path: [] for path in found}


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
@pytest.mark.parametrize("wanted", [2, "all"])
def test_axe_finds_nothing_where_removing_for_good_is_asked_about(
    visit: Visit, ann: Account, week: list[int], colours: str, size: str, wanted: int | str
) -> None:
    """The page that a form leads to which no script has caught."""
    messages.move(ann.mailbox.pk, week[:3], Folder.objects.get(mailbox=ann.mailbox, kind="trash"))
    options: dict[str, Any] = {"color_scheme": colours, "bypass_csp": True}
    page = visit(**options, **(PHONE if size == "phone" else {}))
    page.goto("/mail/trash/empty/" if wanted == "all" else "/mail/trash/")
    if wanted != "all":
        for number in week[:2]:
            page.check(f"#m{number} input[name=message]")
        with leads_to(page, "/mail/acts/"):
            page.evaluate(POST_AS_IT_IS, "expunge")
    expect(page.locator("h1")).to_have_text(f"Remove {2 if wanted == 2 else 3} messages for good?")
    assert _axe(page) == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.title() == "Remove for good? · Restante"
    _picture(page, f"confirm-{wanted}-{size}-{colours}")


# HTMLFormElement.submit tells no script, and sends no button.
POST_AS_IT_IS = """act => {
  const form = document.getElementById('acts');
  const field = document.createElement('input');
  Object.assign(field, {type: 'hidden', name: 'act', value: act});
  form.append(field);
  HTMLFormElement.prototype.submit.call(form);
}"""


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_where_somebody_has_no_mailbox(
    visit: Visit, live_server: Any, operator: Account, colours: str, size: str
) -> None:
    """One of the house, who comes from where staff log in."""
    staff = Client()
    staff.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    options: dict[str, Any] = {"color_scheme": colours, "bypass_csp": True}
    page = visit("/login/", login=False, **options, **(PHONE if size == "phone" else {}))
    cookie = staff.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page.goto("/mail/")
    expect(page.locator("h1")).to_have_text("You have no mailbox here")
    assert _axe(page) == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    _picture(page, f"no-mailbox-{size}-{colours}")
    refused(visit, 403)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_the_account_on_a_telephone(
    visit: Visit, ann: Account, week: list[int], colours: str
) -> None:
    app_passwords.make(ann, "Thunderbird on the laptop", actor=ann.login)
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    page = visit(color_scheme=colours, bypass_csp=True, **PHONE)
    found = {}
    for path in ACCOUNT:
        page.goto(f"/mail/account/{path}")
        assert page.url.endswith(f"/mail/account/{path}")
        found[path] = _axe(page)
        if not page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"):
            found[path].append("wider than the window")
        _picture(page, f"account-{path.strip('/').replace('/', '-')}-phone-{colours}")
    assert found == {path: [] for path in found}


ACCOUNT = ["", "programs/", "sessions/", "appearance/", "moving/", "senders/"]
ACCOUNT += ["security/", "security/passkeys/", "security/prove/"]


def _picture(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def _axe(page: Any) -> list[str]:
    page.evaluate(AXE)
    results = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'][:200]}"
        for one in results["violations"]
        for node in one["nodes"]
    ]
