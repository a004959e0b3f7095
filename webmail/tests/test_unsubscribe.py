"""Leaving a list: by our own POST where RFC 8058 allows it, and by nothing that the reader has not done."""

import ssl
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from django.test import Client

from mailboxes.faults import faults
from mailboxes.models import Account, Message
from webmail import remote_images
from webmail.tests.outside_world import ADDRESS, Server, World

Post = Callable[..., list[Message]]
HOUSE = "mail.example.test"
RESULTS = f"Authentication-Results: {HOUSE}; dkim=pass header.d=news.test"
SIGNATURE = "DKIM-Signature: v=1; d=news.test; h=From:List-Unsubscribe:List-Unsubscribe-Post; b=x"
LIST = "List-Unsubscribe: <mailto:off@news.test?subject=stop%20it>, <https://news.test/png?u=7>"
ONE_CLICK = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"


def letter(*fields: str) -> bytes:
    return "\r\n".join([*fields, "From: News <news@news.test>", "Subject: News", "", "Hello", ""]).encode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[World]:
    settings.HOSTNAME = HOUSE
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("news.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = Server(context)
    made = World(server)
    made.name("news.test", [ADDRESS])
    monkeypatch.setattr(remote_images, "outside", made.outside(tls=lambda: trusting))
    yield made
    server.end()


def body(answer: Any) -> str:
    return str(answer.content.decode())


def test_one_click_is_one_post_that_says_nothing_of_the_reader(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    path = f"/mail/inbox/{message.pk}/unsubscribe/"
    assert f'href="{path}"' in body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))
    asked = body(browser_of_ann.get(path))
    assert "We ask news.test to send you no more of it." in asked
    assert world.server.asked == []
    answer = browser_of_ann.post(path, follow=True)
    assert answer.redirect_chain == [(f"/mail/inbox/{message.pk}/", 302)]
    assert "news.test has taken it." in body(answer)
    [(command, target, headers)] = world.server.asked
    assert (command, target, world.server.posted) == ("POST", "/png?u=7", [b"List-Unsubscribe=One-Click"])
    assert headers == {
        "Host": "news.test",
        "User-Agent": "Mozilla/5.0 (compatible; MailImageProxy/1.0)",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": "26",
    }


NOT_ONE_CLICK = {
    "the field does not say so": [RESULTS, SIGNATURE, LIST],
    "it says something else": [RESULTS, SIGNATURE, LIST, "List-Unsubscribe-Post: yes"],
    "nobody verified the signature": [SIGNATURE, LIST, ONE_CLICK],
    "another server says it did": [RESULTS.replace(HOUSE, "evil.test"), SIGNATURE, LIST, ONE_CLICK],
    "the signature failed": [RESULTS.replace("pass", "fail"), SIGNATURE, LIST, ONE_CLICK],
    "it covers too little": [RESULTS, SIGNATURE.replace(":List-Unsubscribe-Post", ""), LIST, ONE_CLICK],
    "it is of another domain": [RESULTS.replace("news.test", "evil.test"), SIGNATURE, LIST, ONE_CLICK],
    "two URIs": [RESULTS, SIGNATURE, LIST + ", <https://other.test/>", ONE_CLICK],
    "two fields": [RESULTS, LIST, SIGNATURE, LIST, ONE_CLICK],
    "no TLS": [RESULTS, SIGNATURE, LIST.replace("https", "http"), ONE_CLICK],
}


@pytest.mark.parametrize("kind", NOT_ONE_CLICK)
def test_without_all_that_rfc_8058_wants_nothing_is_posted(
    ann: Account, browser_of_ann: Client, post: Post, world: World, kind: str
) -> None:
    [message] = post(ann, text=letter(*NOT_ONE_CLICK[kind]))
    path = f"/mail/inbox/{message.pk}/unsubscribe/"
    page = body(browser_of_ann.get(path))
    assert "We ask" not in page
    assert "off@news.test" in page
    assert "stop it" in page
    if kind != "no TLS":
        assert 'href="https://news.test/png?u=7" target="_blank" rel="noopener noreferrer"' in page
    assert browser_of_ann.post(path).status_code == 404
    assert world.server.asked == []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("gone", "answered 410"),
        ("to?https://news.test/png", "answered 302"),
        ("rubbish", "could not be reached"),
    ],
)
def test_a_refusal_is_told_and_no_redirect_is_followed(
    ann: Account,
    browser_of_ann: Client,
    post: Post,
    world: World,
    where: str,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted = faults()
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST.replace("png?u=7", where), ONE_CLICK))
    answer = browser_of_ann.post(f"/mail/inbox/{message.pk}/unsubscribe/")
    assert answer.status_code == 502
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
    assert faults() == counted
    assert said in body(answer)
    assert f'href="https://news.test/{where}"' in body(answer)
    assert len(world.server.asked) == 1


def test_a_list_that_lies_inside_is_not_asked(
    ann: Account, browser_of_ann: Client, post: Post, world: World
) -> None:
    world.name("news.test", ["10.0.0.1"])
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    answer = browser_of_ann.post(f"/mail/inbox/{message.pk}/unsubscribe/")
    assert "could not be reached" in body(answer)
    assert world.dialled == []


def test_no_host_writes_lines_into_the_log(
    ann: Account, browser_of_ann: Client, post: Post, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "webmail")
    forged = LIST.replace("https://news.test/", "https://news.test%0aforged/")
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, forged, ONE_CLICK))
    assert browser_of_ann.post(f"/mail/inbox/{message.pk}/unsubscribe/").status_code == 502
    [line] = [one.getMessage() for one in caplog.records if one.name == "webmail.views.unsubscribe"]
    assert "forged" in line
    assert "\n" not in line


def test_nobody_leaves_anothers_list(
    ann: Account, bob: Account, logged_in: Callable[..., Client], post: Post, world: World
) -> None:
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    browser = logged_in(bob)
    path = f"/mail/inbox/{message.pk}/unsubscribe/"
    assert (browser.get(path).status_code, browser.post(path).status_code) == (404, 404)
    assert world.server.asked == []


def test_it_takes_a_form_of_ours(ann: Account, browser_of_ann: Client, post: Post, world: World) -> None:
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser_of_ann.cookies
    assert strict.post(f"/mail/inbox/{message.pk}/unsubscribe/").status_code == 403
    assert world.server.asked == []


def test_a_letter_of_no_list_has_no_way_out(ann: Account, browser_of_ann: Client, post: Post) -> None:
    [message] = post(ann)
    assert browser_of_ann.get(f"/mail/inbox/{message.pk}/unsubscribe/").status_code == 404
    assert "unsubscribe/" not in body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))


def test_the_house_can_do_without(
    ann: Account, browser_of_ann: Client, post: Post, world: World, settings: Any
) -> None:
    settings.REMOTE_IMAGES = False
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    path = f"/mail/inbox/{message.pk}/unsubscribe/"
    assert 'href="https://news.test/png?u=7"' in body(browser_of_ann.get(path))
    assert browser_of_ann.post(path).status_code == 404


def test_nobody_leaves_a_thousand_lists_in_an_hour(
    ann: Account, browser_of_ann: Client, post: Post, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webmail.views.unsubscribe.MAX_AN_HOUR", 1)
    # They are counted from each full hour to the next, which may end just now.
    monkeypatch.setattr("webmail.views.unsubscribe.time", SimpleNamespace(time=lambda: 0.0))
    [message] = post(ann, text=letter(RESULTS, SIGNATURE, LIST, ONE_CLICK))
    path = f"/mail/inbox/{message.pk}/unsubscribe/"
    assert [browser_of_ann.post(path).status_code for _ in range(2)] == [302, 502]
    assert len(world.server.asked) == 1
