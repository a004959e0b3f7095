"""Remote images: off until the reader asks, then by way of us, and only what stands in the letter."""

import re
import threading
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import signing
from django.core.cache import caches
from django.http import QueryDict
from django.test import Client

from mailboxes import trusted_senders
from mailboxes.faults import faults
from mailboxes.models import Account, Message, TrustedSender
from mailboxes.reading import POLICY_VERSION
from webmail import remote_images
from webmail.tests.outside_world import ADDRESS, PNG, Server, World, clock

Post = Callable[..., list[Message]]
HOUSE = "mail.example.test"
VERIFIED = f"Authentication-Results: {HOUSE}; dmarc=pass header.from=letters.test\r\n"
SHUT_IMAGE = "sandbox; default-src 'none'; frame-ancestors 'none'"


def newsletter(head: str = VERIFIED, sender: str = "Letters <News@Letters.test>", more: str = "") -> bytes:
    return (
        f"{head}From: {sender}\r\nSubject: News\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/html; charset=utf-8\r\n\r\n"
        '<p>Hello</p><img src="http://pictures.test/png?who=ann&x=1" width="20">'
        '<img src="http://pictures.test/open" width="1" height="1">'
        f'<div style="background:url(http://pictures.test/png/behind)">x</div>{more}\r\n'
    ).encode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[World]:
    settings.HOSTNAME = HOUSE
    server = Server()
    made = World(server)
    made.name("pictures.test", [ADDRESS])
    made.name("inside.test", ["127.0.0.1"])
    monkeypatch.setattr(remote_images, "outside", made.outside(octets_max=100_000))
    caches["images"].clear()
    yield made
    server.end()


def body(answer: Any) -> str:
    return str(answer.content.decode())


def ask_for(client: Client, message: Message, how: str = "once") -> str:
    """Asks for the images as the buttons do; where the page is then."""
    answer = client.post(f"/mail/inbox/{message.pk}/images/", {"show": how})
    assert answer.status_code == 302
    return str(answer["Location"])


def frame_of(client: Client, page: str) -> tuple[Any, list[str]]:
    """The frame that a page shows, and the images in it."""
    found = re.search(r'<iframe class="html-frame[^"]*" src="([^"]*)"', body(client.get(page)))
    assert found
    frame = client.get(unescape(found[1]))
    return frame, re.findall(r"/mail/inbox/\d+/image/\?[\w%&=.:-]+", unescape(body(frame)))


def test_nothing_is_asked_of_anybody_until_the_reader_asks(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    [message] = post(ann, text=newsletter())
    page = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))
    frame, images = frame_of(browser_of_ann, f"/mail/inbox/{message.pk}/")
    assert images == []
    assert "img-src data:;" in frame["Content-Security-Policy"]
    assert "Images from outside are not shown" in page
    assert "One tracker was removed." in page
    assert (">Show once<" in page, "Always for news@letters.test" in page) == (True, True)
    assert (world.looked_up, world.server.asked) == ([], [])


def test_once_shows_this_letter_and_the_next_time_asks_again(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    [message] = post(ann, text=newsletter())
    shown = ask_for(browser_of_ann, message)
    frame, images = frame_of(browser_of_ann, shown)
    assert len(images) == 2
    assert (
        f"img-src data: http://testserver/mail/inbox/{message.pk}/image/; "
        in frame["Content-Security-Policy"]
    )
    assert "pictures.test" not in re.sub(r"/mail/inbox/\d+/image/\?[\w%&=;.:-]+", "", body(frame))
    assert "Images are shown." in body(browser_of_ann.get(shown))
    for url in images:
        # As the browser asks: the frame has no origin, and so no cookie.
        answer = Client().get(url)
        assert (answer.status_code, answer.content) == (200, PNG)
        wanted = {
            "Content-Type": "image/png",
            "Content-Security-Policy": SHUT_IMAGE,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "private, max-age=3600",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        assert {name: answer.get(name) for name in wanted} == wanted
        assert not answer.cookies
    assert sorted(path for _, path, _ in world.server.asked) == ["/png/behind", "/png?who=ann&x=1"]
    assert frame_of(browser_of_ann, f"/mail/inbox/{message.pk}/")[1] == []


def test_a_reload_asks_the_sender_nothing_again(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    [message] = post(ann, text=newsletter())
    for _ in range(2):
        for url in frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1]:
            assert Client().get(url).status_code == 200
    assert len(world.server.asked) == 2


def test_always_shows_what_this_sender_writes_from_now_on(
    ann: Account, bob: Account, browser_of_ann: Client, logged_in: Any, post: Post, world: World
) -> None:
    [first], [next_one], [of_bob] = (
        post(ann, text=newsletter()),
        post(ann, text=newsletter()),
        post(bob, text=newsletter()),
    )
    ask_for(browser_of_ann, first, "always")
    assert list(TrustedSender.objects.values_list("mailbox", "address")) == [
        (ann.mailbox.pk, "news@letters.test")
    ]
    assert len(frame_of(browser_of_ann, f"/mail/inbox/{next_one.pk}/")[1]) == 2
    assert "Images from news@letters.test are always shown." in body(
        browser_of_ann.get(f"/mail/inbox/{next_one.pk}/")
    )
    assert frame_of(logged_in(bob), f"/mail/inbox/{of_bob.pk}/")[1] == []
    page = body(browser_of_ann.get("/mail/account/senders/"))
    assert "news@letters.test" in page
    number = TrustedSender.objects.get().pk
    logged_in(bob).post("/mail/account/senders/", {"sender": number})
    assert TrustedSender.objects.count() == 1
    browser_of_ann.post("/mail/account/senders/", {"sender": number})
    assert TrustedSender.objects.count() == 0
    assert frame_of(browser_of_ann, f"/mail/inbox/{next_one.pk}/")[1] == []


UNCONFIRMED = {
    "nobody looked": newsletter(""),
    "another server said so": newsletter("Authentication-Results: elsewhere.test; dmarc=pass\r\n"),
    "it failed": newsletter(VERIFIED.replace("pass", "fail")),
    "another domain passed": newsletter(VERIFIED.replace("letters.test", "evil.test")),
    "a signature of another domain": newsletter(
        f"Authentication-Results: {HOUSE}; dkim=pass header.d=evil.test\r\n"
    ),
    "SPF of another domain": newsletter(
        f"Authentication-Results: {HOUSE}; spf=pass smtp.mailfrom=evil.test\r\n"
    ),
    "two From fields": newsletter(VERIFIED + "From: News <news@letters.test>\r\n"),
    "two senders": newsletter(sender="News <news@letters.test>, Evil <e@letters.test>"),
    "no address": newsletter(sender="letters.test"),
}


@pytest.mark.parametrize("kind", UNCONFIRMED)
def test_who_is_not_confirmed_is_not_trusted(
    ann: Account, browser_of_ann: Client, post: Post, world: World, kind: str
) -> None:
    trusted_senders.trust(ann.mailbox.pk, "news@letters.test")
    [message] = post(ann, text=UNCONFIRMED[kind])
    page = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))
    assert (">Show once<" in page, "Always for" in page) == (True, False)
    assert frame_of(browser_of_ann, f"/mail/inbox/{message.pk}/")[1] == []
    trusted_senders.distrust(ann.mailbox.pk, TrustedSender.objects.get().pk)
    assert len(frame_of(browser_of_ann, ask_for(browser_of_ann, message, "always"))[1]) == 2
    assert TrustedSender.objects.count() == 0


@pytest.mark.parametrize(
    "result", ["dmarc=pass", "dkim=pass header.d=letters.test", "spf=pass smtp.mailfrom=news@letters.test"]
)
def test_who_is_confirmed_may_be_trusted(
    ann: Account, browser_of_ann: Client, post: Post, world: World, result: str
) -> None:
    [message] = post(ann, text=newsletter(f"Authentication-Results: {HOUSE}; {result}\r\n"))
    ask_for(browser_of_ann, message, "always")
    assert TrustedSender.objects.get().address == "news@letters.test"


def test_no_link_in_a_letter_can_ask_for_images(
    ann: Account, bob: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    """Asking is a POST with a token of the form; what its answer's URL says is signed, for one message."""
    [message], [other], [of_bob] = (post(one, text=newsletter()) for one in (ann, ann, bob))
    path = f"/mail/inbox/{message.pk}/"
    tokens = ["1", "once", remote_images.show_token(other), remote_images.show_token(of_bob)]
    for token in [*tokens, signing.dumps([message.mailbox_id, message.pk])]:
        assert frame_of(browser_of_ann, f"{path}?images={token}")[1] == []
        assert "/image/" not in body(browser_of_ann.get(f"{path}html/?images={token}"))
    assert browser_of_ann.get(f"{path}images/").headers["Location"] == path
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser_of_ann.cookies
    assert strict.post(f"{path}images/", {"show": "always"}).status_code == 403
    assert TrustedSender.objects.count() == 0


def test_nobody_asks_for_anothers_images(
    ann: Account, bob: Account, logged_in: Any, post: Post, world: World
) -> None:
    [message] = post(ann, text=newsletter())
    browser = logged_in(bob)
    path = f"/mail/inbox/{message.pk}/"
    assert browser.post(f"{path}images/", {"show": "always"}).status_code == 404
    assert browser.get(f"{path}html/?images={remote_images.show_token(message)}").status_code == 404
    assert TrustedSender.objects.count() == 0


def test_only_what_we_have_signed_is_fetched(
    ann: Account, browser_of_ann: Client, post: Post, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message], [other] = post(ann, text=newsletter()), post(ann, text=newsletter())
    url = frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1][0]
    forged = [
        f"/mail/inbox/{message.pk}/image/",
        f"/mail/inbox/{message.pk}/image/?u=http://pictures.test/png",
        f"/mail/inbox/{message.pk}/image/?u=http://pictures.test/png&s=x",
        url.replace("who%3Dann", "who%3Dbob"),
        url.replace(f"/{message.pk}/", f"/{other.pk}/"),
        url.replace(f"/{message.pk}/", "/999999/"),
        url[:-1],
    ]
    for path in forged:
        assert browser_of_ann.get(path).status_code == 404, path
    monkeypatch.setattr("webmail.remote_images.POLICY_VERSION", POLICY_VERSION + 1)
    assert browser_of_ann.get(url).status_code == 404
    monkeypatch.undo()
    monkeypatch.setattr(remote_images, "SIGNED_SECONDS", -1)
    assert browser_of_ann.get(url).status_code == 404
    assert world.server.asked == []


def test_what_is_signed_is_no_part_of_a_url(ann: Account, post: Post) -> None:
    [message] = post(ann, text=newsletter())
    asked = QueryDict(
        urlsplit(remote_images.image_url("inbox", message, "http://pictures.test:80/png")).query
    )
    assert remote_images.is_image_of(message, asked["u"], asked["s"])
    for at in (4, len("http://pictures.test")):
        assert not remote_images.is_image_of(message, asked["u"][:at], f"{asked['u'][at + 1 :]}:{asked['s']}")


def test_a_part_that_can_be_none_is_not_there(ann: Account, browser_of_ann: Client, post: Post) -> None:
    [message] = post(ann, text=newsletter())
    assert browser_of_ann.post(f"/mail/inbox/{message.pk}/images/", {"part": "2/x"}).status_code == 404


def test_whose_account_is_shut_has_no_images(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    from mailboxes.accounts import suspend

    [message] = post(ann, text=newsletter())
    url = frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1][0]
    suspend(ann, "a reason")
    assert Client().get(url).status_code == 404


def images_named(names: list[str]) -> str:
    return "".join(f'<img src="http://{name}" width="9">' for name in names)


def test_what_is_no_image_is_not_handed_on(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    names = [
        "svg",
        "page",
        "missing",
        "packed",
        "large",
        "to?http://inside.test/png",
        "to?http://inside.test/",
    ]
    more = images_named([f"pictures.test/{name}" for name in names] + ["inside.test/png", "10.0.0.1/png"])
    [message] = post(ann, text=newsletter(more=more))
    images = frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1]
    answers = [Client().get(url) for url in images]
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [404] * 9
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.content, answer["Cache-Control"]) for answer in refused} == {(b"", "no-store")}
    assert {address for address, _ in world.dialled} == {ADDRESS}


def test_who_does_not_answer_is_not_asked_again_at_once(
    ann: Account,
    browser_of_ann: Client,
    post: Post,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted = faults()
    clock(monkeypatch, lambda: world.server.dripped)
    monkeypatch.setattr(remote_images, "outside", world.outside(seconds=5.0))
    more = images_named(["pictures.test/drip", "pictures.test/png/later"])
    [message] = post(ann, text=newsletter(more=more))
    images = frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1]
    slow = next(url for url in images if "drip" in url)
    later = next(url for url in images if "later" in url)
    assert Client().get(slow).status_code == 504
    # Neither that image nor another of the server that kept us waiting.
    assert (Client().get(slow).status_code, Client().get(later).status_code) == (404, 504)
    assert len(world.server.asked) == 1
    # It is no fault of this house, and neither logged nor counted as one.
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
    assert faults() == counted


def test_a_mailbox_asks_for_so_many_images_and_no_more(
    ann: Account,
    bob: Account,
    browser_of_ann: Client,
    logged_in: Any,
    post: Post,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_images, "FETCHES_MAX", 1)
    # They are counted from each full ten minutes to the next, which may end just now.
    monkeypatch.setattr(remote_images, "FETCHES_SECONDS", 10**10)
    [message], [of_bob] = post(ann, text=newsletter()), post(bob, text=newsletter())
    first, second = frame_of(browser_of_ann, ask_for(browser_of_ann, message))[1]
    assert Client().get(first).status_code == 200
    refused = Client().get(second)
    assert (refused.status_code, refused["Retry-After"]) == (503, "10")
    # What is kept costs nobody anything, and another mailbox is another's.
    assert Client().get(first).status_code == 200
    for url in frame_of(logged_in(bob), ask_for(logged_in(bob), of_bob))[1]:
        if "behind" in url:
            assert Client().get(url).status_code == 200


def test_not_all_threads_fetch(
    ann: Account, post: Post, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many images are being fetched as may be, one more is refused after a moment."""
    monkeypatch.setattr(remote_images, "_room", threading.BoundedSemaphore(1))
    monkeypatch.setattr(remote_images, "WAIT_SECONDS", 0.01)
    with remote_images._room_for(1), pytest.raises(remote_images.NoRoom):
        remote_images.fetch(1, "http://pictures.test/png")
    assert remote_images.fetch(1, "http://pictures.test/png") == PNG
    assert remote_images.FETCHES_AT_ONCE < 8


def test_the_house_can_do_without(
    ann: Account, browser_of_ann: Client, post: Post, world: World, settings: Any
) -> None:
    [message] = post(ann, text=newsletter())
    shown = ask_for(browser_of_ann, message)
    url = frame_of(browser_of_ann, shown)[1][0]
    settings.REMOTE_IMAGES = False
    page = body(browser_of_ann.get(shown))
    assert ("are not shown" in page, "Show once" in page) == (True, False)
    assert frame_of(browser_of_ann, shown)[1] == []
    assert Client().get(url).status_code == 404
    assert "switched images from outside off" in body(browser_of_ann.get("/mail/account/senders/"))
    assert world.server.asked == []


def test_the_list_of_senders_has_an_end(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_senders, "SENDERS_MAX", 2)
    assert [trusted_senders.trust(ann.mailbox.pk, f"{name}@A.test") for name in "abca"] == [
        True,
        True,
        False,
        True,
    ]
    assert [one.address for one in trusted_senders.trusted_by(ann.mailbox.pk)] == ["a@a.test", "b@a.test"]


@pytest.mark.parametrize("senders", [1, 3])
def test_the_list_of_senders_costs_the_same_for_one_and_three(
    ann: Account, browser_of_ann: Client, django_assert_num_queries: Any, senders: int
) -> None:
    for number in range(senders):
        trusted_senders.trust(ann.mailbox.pk, f"{number}@a.test")
    with django_assert_num_queries(4):
        browser_of_ann.get("/mail/account/senders/")
