"""Passkeys and the other pages of password and security as people have them: in Chromium, which plays the
authenticator itself."""

import json
import os
import re
from base64 import b32decode
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import expect

from conftest import BROWSER_PATIENCE, IN_CHROMIUM
from mailboxes import accounts, app_passwords, secondfactor, web_sessions
from mailboxes.models import Account, AuditEntry, Passkey, WebSession
from webmail.tests.conftest import PASSWORD
from webmail.tests.waiting import until_answered

pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
AXE = (Path(__file__).parent / "vendor" / "axe" / "axe.min.js").read_text()
# It is waited for by this whole path: '**/mail/account/security/' would also be the page that leads to it,
# /login/?next=/mail/account/security/.
PAGE = "/mail/account/security/"
# Where pictures of the pages are left, for whoever wants to look at them.
PICTURES = os.environ.get("RESTANTE_PICTURES", "")
SIZES = [(1440, 900, "light"), (390, 844, "dark")]
if PICTURES:
    SIZES += [(1440, 900, "dark"), (390, 844, "light")]
Open = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, live_server: Any) -> Iterator[Open]:
    """Opens a page in a browser of its own; whatever it says on its console fails the test."""
    said: list[str] = []
    contexts = []

    def make(path: str, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(BROWSER_PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    until_answered(live_server)
    # Chromium itself reports each refusal, and that it jumps to a part of the page rather than focus a field.
    assert [text for text in said if "status of 4" not in text and "Autofocus" not in text] == []


def log_in(page: Any, account: Account, password: str = PASSWORD) -> None:
    page.fill("#login", account.login)
    page.fill("#password", password)
    page.get_by_role("button", name="Log in", exact=True).click()


def with_authenticator(page: Any, *, verifies: bool = True) -> Callable[..., Any]:
    """Let Chromium play an authenticator; returns what speaks to it."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": verifies,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})

    def send(what: str, **more: Any) -> Any:
        return devtools.send(f"WebAuthn.{what}", {"authenticatorId": made["authenticatorId"], **more})

    return send


def make_passkey(page: Any, name: str = "My telephone") -> list[str]:
    """From the security page; the recovery codes that are shown."""
    page.get_by_role("link", name="Set up a passkey").click()
    page.fill("#passkey-name", name)
    page.get_by_role("button", name="Make the passkey").click()
    page.wait_for_selector("ol.codes")
    codes: list[str] = page.locator("ol.codes code").all_inner_texts()
    return codes


def log_out(page: Any) -> None:
    page.goto(PAGE)
    page.get_by_role("button", name="Log out").first.click()
    page.wait_for_url("/login/")


def test_a_passkey_is_the_second_step_and_then_the_whole_login(open_page: Open, ann: Account) -> None:
    page = open_page(f"/login/?next={PAGE}")
    authenticator = with_authenticator(page)
    log_in(page, ann)
    page.wait_for_url(PAGE)
    codes = make_passkey(page)
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url(PAGE)
    page.wait_for_selector("text=My telephone")
    assert Account.objects.get(pk=ann.pk).second_factor
    log_out(page)

    log_in(page, ann)
    page.wait_for_url("/login/code/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("/mail/inbox/")
    assert WebSession.objects.get(ended="").second_factor == "passkey"
    log_out(page)

    page.get_by_role("link", name="Use a passkey instead").click()
    page.wait_for_url("**/login/passkey/**")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("/mail/inbox/")
    passkey = Passkey.objects.get()
    credentials = authenticator("getCredentials")["credentials"]
    assert [passkey.sign_count] == [one["signCount"] for one in credentials]
    assert passkey.last_used_at is not None

    page.goto(PAGE)
    page.get_by_role("button", name="Remove My telephone").click()
    page.wait_for_selector("text=Your password alone lets in now")
    assert not Account.objects.get(pk=ann.pk).second_factor
    verbs = AuditEntry.objects.filter(subject=ann.login).order_by("pk").values_list("verb", flat=True)
    assert list(verbs)[-2:] == ["add_passkey", "remove_passkey"]


def test_a_device_that_has_not_verified_its_owner_does_not_replace_the_password(
    open_page: Open, ann: Account
) -> None:
    page = open_page(f"/login/?next={PAGE}")
    authenticator = with_authenticator(page)
    log_in(page, ann)
    page.wait_for_url(PAGE)
    make_passkey(page)
    log_out(page)
    authenticator("setUserVerified", isUserVerified=False)
    page.goto("/login/passkey/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_selector("text=No passkey was shown.")
    assert page.url.endswith("/login/passkey/")
    # Nor if the page is made to ask for less than we do.
    page.evaluate(
        """() => {
            const { dataset } = document.querySelector("form[data-passkey]");
            const less = { userVerification: "discouraged" };
            dataset.options = JSON.stringify({ ...JSON.parse(dataset.options), ...less });
        }"""
    )
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_selector("text=This passkey does not fit")
    assert not WebSession.objects.filter(ended="").exists()


def test_an_answer_counts_once_for_its_own_question_and_from_our_own_pages(
    open_page: Open, ann: Account, bob: Account
) -> None:
    page = open_page(f"/login/?next={PAGE}")
    with_authenticator(page)
    log_in(page, ann)
    page.wait_for_url(PAGE)
    make_passkey(page)
    log_out(page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    log_in(page, ann)
    page.wait_for_url("/login/code/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("/mail/inbox/")
    answer = re.search(r"passkey=([^&]+)", " ".join(sent))
    assert answer is not None
    log_out(page)

    def replay(text: str) -> None:
        """Send an answer as a page would, to a question that was asked anew."""
        # The page says it of the answer before, too: it is another page that is waited for.
        with page.expect_navigation():
            page.evaluate(
                """text => {
                    const form = document.querySelector("form[data-passkey]");
                    form.elements.passkey.value = decodeURIComponent(text.replaceAll("+", " "));
                    form.submit();
                }""",
                text,
            )
        page.wait_for_selector("text=This passkey does not fit")

    log_in(page, ann)
    page.wait_for_url("/login/code/")
    replay(answer[1])  # the signature is over another challenge
    replay(json.dumps({"id": "x", "response": {}}))
    replay("[]")
    replay("x" * 40_000)
    page.goto("/login/passkey/")
    replay(answer[1])
    refusals = WebSession.objects.filter(ended="refused").values_list("reason", flat=True)
    assert list(refusals) == ["wrong_passkey"] * 5
    # Nobody shows another's passkey: bob's second step knows only his own.
    Account.objects.filter(pk=bob.pk).update(second_factor=True)
    Passkey.objects.create(account=bob, name="his", credential="eA", public_key=b"x")
    page.goto("/login/")
    log_in(page, bob)
    page.wait_for_url("/login/code/")
    replay(answer[1])


def test_an_authenticator_app_from_the_first_click_to_the_next_login(
    open_page: Open, ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A code counts for a minute and a half at most, which may pass between two lines: the clock stands.
    now = time()
    monkeypatch.setattr(secondfactor, "time", lambda: now)
    page = open_page(f"/login/?next={PAGE}")
    log_in(page, ann)
    page.wait_for_url(PAGE)
    page.get_by_role("button", name="Set up an authenticator app").click()
    picture = page.locator("img.qr")
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("one => one.naturalWidth") > 100
    secret = b32decode(page.locator("code.secret").inner_text().replace(" ", "").upper())
    page.fill("#code", TOTP(secret, 6, SHA1(), 30).generate(int(now) - 30).decode())
    page.get_by_role("button", name="Switch it on").click()
    page.wait_for_selector("ol.codes")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a file").click()
    saved = Path(download.value.path()).read_text().split()
    assert saved == page.locator("ol.codes code").all_inner_texts()
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url(PAGE)
    log_out(page)
    log_in(page, ann)
    page.wait_for_url("/login/code/")
    page.fill("#code", saved[0])
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("/mail/inbox/")


def test_all_of_it_but_passkeys_works_without_scripts(open_page: Open, ann: Account) -> None:
    page = open_page(f"/login/?next={PAGE}", java_script_enabled=False)
    log_in(page, ann)
    page.wait_for_url(PAGE)
    page.fill("#app-password-name", "Thunderbird")
    page.get_by_role("button", name="Make an app password").click()
    page.wait_for_selector("[data-secret]")
    page.goto(PAGE)
    page.get_by_role("button", name="Revoke Thunderbird").click()
    page.wait_for_selector("text=The app password is revoked.")
    page.get_by_role("link", name="Set up a passkey").click()
    page.wait_for_selector("text=Passkeys need JavaScript")


def test_staff_are_led_to_a_second_factor_and_on_to_the_console(
    open_page: Open, operator: Account, settings: Any
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "required"
    page = open_page("/console/accounts/")
    with_authenticator(page)
    log_in(page, operator)
    page.wait_for_url(PAGE)
    page.wait_for_selector("text=The console needs a second factor.")
    make_passkey(page, "a key")
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url("/console/accounts/")


# -- looks --------------------------------------------------------------------------------------


def judged(page: Any, name: str, said: list[str]) -> None:
    """What keeps people out of the page, by axe; and that nothing is wider than the window."""
    page.wait_for_load_state()  # its style sheets have come
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    said += [f"{name}: {one['id']} {[node['html'] for node in one['nodes']]}" for one in found["violations"]]
    if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
        said.append(f"{name}: wider than the window")
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_nothing_keeps_people_out_of_any_page(
    open_page: Open, ann: Account, width: int, height: int, scheme: str
) -> None:
    said: list[str] = []
    size = f"{width}-{scheme}"
    for n in range(3):
        name = web_sessions.begin(ann.pk, ann.login, peer=f"192.0.2.{n}", program="Firefox 128 on Windows")
        if n:
            web_sessions.end(ann.pk, name)
        web_sessions.note_refused(
            ann.login, peer="198.51.100.7", network="x", program="curl/8", reason="wrong_password"
        )
    app_passwords.make(ann, "Thunderbird on the laptop", actor=ann.login)
    options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "bypass_csp": True}
    page = open_page("/login/", **options)
    judged(page, f"login-{size}", said)
    page.goto("/login/passkey/")
    judged(page, f"login-passkey-{size}", said)
    with_authenticator(page)
    page.goto(f"/login/?next={PAGE}")
    log_in(page, ann)
    page.wait_for_url(PAGE)
    page.get_by_role("button", name="Set up an authenticator app").click()
    page.wait_for_selector("img.qr")
    judged(page, f"authenticator-{size}", said)
    page.goto(f"{PAGE}prove/")
    judged(page, f"prove-{size}", said)
    page.goto(f"{PAGE}passkeys/")
    judged(page, f"passkey-{size}", said)
    page.goto(PAGE)
    page.fill("#app-password-name", "Apple Mail on the telephone")
    page.get_by_role("button", name="Make an app password").click()
    page.wait_for_selector("[data-secret]")
    judged(page, f"app-password-{size}", said)
    page.goto(PAGE)
    make_passkey(page)
    judged(page, f"recovery-codes-{size}", said)
    page.goto(PAGE)
    for summary in page.locator("details.earlier summary").all():
        summary.click()
    judged(page, f"security-{size}", said)
    log_out(page)
    log_in(page, ann)
    page.wait_for_url("/login/code/")
    judged(page, f"second-step-{size}", said)
    temporary = accounts.give_temporary_password(ann)
    Account.objects.filter(pk=ann.pk).update(second_factor=False)
    page.goto("/login/")
    log_in(page, ann, temporary)
    page.wait_for_url(f"{PAGE}temporary-password/")
    judged(page, f"temporary-{size}", said)
    assert said == []
