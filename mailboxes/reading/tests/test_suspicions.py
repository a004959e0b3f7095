"""Who it is from, whether our server believes it, and what is odd: known cases, one by one."""

import pytest

from mailboxes.reading import Unsubscribe, authentication, authentication_word, parse
from mailboxes.reading.links import hosts_named, suspicion
from mailboxes.reading.people import people

pytestmark = pytest.mark.once

OURS = "mx.example.test"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Ann <ann@x.test>", [("Ann", "ann@x.test")]),
        (
            '"Example, Ann \\"A\\"" <ann@x.test>, b@x.test',
            [('Example, Ann "A"', "ann@x.test"), ("", "b@x.test")],
        ),
        ("=?utf-8?q?Example=2C_Ann?= <ann@x.test>", [("Example, Ann", "ann@x.test")]),
        ("=?utf-8?q?a=40evil.test=2C?= <ann@x.test>", [("a@evil.test,", "ann@x.test")]),
        ("ann@x.test (Ann)", [("Ann", "ann@x.test")]),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [("Pete", "pete@silly.test")]),
        ("A Group:Ann <ann@x.test>,b@x.test;", [("Ann", "ann@x.test"), ("", "b@x.test")]),
        ("undisclosed-recipients:;", []),
        ("<@a.test,@b.test:ann@x.test>", [("", "ann@x.test")]),
        ('"Ann" ann@x.test', [("Ann", "ann@x.test")]),
        ("jdoe@machine .  example", [("", "jdoe@machine.example")]),
        (" ,, ;", []),
        ("<>", []),
        ("Ann", [("Ann", "")]),
        ("Ann <ann@x.test", [("Ann", "ann@x.test")]),
        ("a\u202eb\x00 <ann@x.test>", [("ab", "ann@x.test")]),
    ],
)
def test_people_are_read_as_they_were_meant(written: str, read: list[tuple[str, str]]) -> None:
    assert [(person.name, person.address) for person in people(written)] == read


@pytest.mark.parametrize(
    ("headers", "codes"),
    [
        ("From: Ann <ann@x.test>", []),
        ("From: ann@x.test <ann@x.test>", []),
        ("From: ann@sub.x.test <ann@x.test>", []),
        ("From: bank@bank.test <ann@x.test>", ["name_has_address"]),
        ("From: =?utf-8?q?bank=40bank=2Etest?= <ann@x.test>", ["name_has_address"]),
        ("From: a@\u0430pple.test", ["mixed_scripts"]),
        ("From: a@xn--80ak6aa92e.test", ["lookalike"]),
        ("From: a@bücher.test", []),
        ("From: a@пример.test", []),
        ("From: a@日本ショップtokyo.test", []),
        ("From: ann@x.test\nReply-To: ann@x.test", []),
        ("From: ann@x.test\nReply-To: reply@mail.x.test", []),
        ("From: ann@x.test\nReply-To: ann@y.test", ["reply_to_differs"]),
        ("From: ann@x.test, bob@y.test", ["several_senders"]),
        ("From: Doe, Ann <ann@x.test>", []),
    ],
)
def test_what_is_odd_is_said(headers: str, codes: list[str]) -> None:
    assert [caution.code for caution in parse(headers.encode() + b"\n\n").warnings] == codes


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("example.test", ""),
        ("bücher.test", ""),
        ("аpple.test", "mixed_scripts"),
        ("gοοgle.test", "mixed_scripts"),
        ("раураӏ.test", "lookalike"),
        ("россия.test", ""),
        ("xn--pple-43d.test", "mixed_scripts"),
        ("xn--" + "9" * 70, ""),
        ("xn--\u00e9", ""),
    ],
)
def test_a_name_is_what_it_looks_like_or_is_told(host: str, code: str) -> None:
    assert suspicion(host) == code


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("https://a.test/x and www.b.test", ["a.test", "www.b.test"]),
        ("a.com, b.org!", ["a.com", "b.org"]),
        ("a.test", ["a.test"]),
        ("Node.js 1.2.3 e.g. report.pdf", []),
        ("mail me: x@a.test", ["a.test"]),
        ("@" * 3_000, []),
    ],
)
def test_a_text_names_the_hosts_that_people_see(text: str, hosts: list[str]) -> None:
    assert hosts_named(text) == hosts


# -- authentication -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (f"{OURS}; dmarc=pass header.from=x.test", "verified"),
        (f"{OURS} 1; spf=fail; dkim=pass header.d=x.test; dmarc=pass", "verified"),
        (f"{OURS}; dmarc=fail; dkim=pass header.d=x.test", "failed"),
        (f"{OURS}; dkim=pass header.d=x.test", "verified"),
        (f"{OURS}; dkim=pass header.i=@mail.x.test", "verified"),
        (f"{OURS}; dkim=pass header.d=y.test", "unknown"),
        (f"{OURS}; dkim=pass header.d=test", "unknown"),
        (f"{OURS}; dkim=pass", "unknown"),
        (f"{OURS}; spf=pass smtp.mailfrom=bounce@x.test", "verified"),
        (f"{OURS}; spf=pass smtp.mailfrom=evil.test; dkim=none", "unknown"),
        (f"{OURS}; spf=fail; dkim=fail", "failed"),
        (f"{OURS}; spf=softfail; dkim=fail", "unknown"),
        (f"{OURS}; none", "unknown"),
        (f"{OURS} (dmarc=pass; dmarc=pass); dmarc=fail (dmarc=pass)", "failed"),
        (f'{OURS}; dkim=fail reason="; dmarc=pass" header.d=x.test', "verified"),
        ("evil.test; dmarc=pass", "unknown"),
        (f"x{OURS}; dmarc=pass", "unknown"),
        (f"({OURS}) evil.test; dmarc=pass", "unknown"),
        ("", "unknown"),
    ],
)
def test_our_servers_word_is_taken_and_no_others(value: str, word: str) -> None:
    assert authentication_word([("Authentication-Results", value)], OURS, "x.test") == word


def test_only_the_topmost_of_ours_counts() -> None:
    headers = [("authentication-results", f"{OURS}; dmarc={result}") for result in ("fail", "pass")]
    assert authentication_word(headers, OURS, "x.test") == "failed"
    assert authentication_word([("Authentication-Results", "; dmarc=pass")], "", "x.test") == "unknown"


def test_the_word_rests_on_results() -> None:
    found = authentication(
        [("Authentication-Results", f"{OURS}; dkim=pass header.d=x.test header.b=abc")], OURS
    )
    [result] = found.results
    assert (result.method, result.result, result.domain) == ("dkim", "pass", "x.test")
    assert result.properties == {"header.d": "x.test", "header.b": "abc"}


# -- unsubscribing ------------------------------------------------------------------------------

LIST = "List-Unsubscribe: <https://x.test/u?1>, <mailto:u@x.test?subject=u>"
POST = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
PASSED = f"Authentication-Results: {OURS}; dkim=pass header.d=x.test"
SIGNED = "DKIM-Signature: v=1; d=x.test; h=From:List-Unsubscribe:\r\n List-Unsubscribe-Post; b=x"


@pytest.mark.parametrize(
    ("headers", "one_click"),
    [
        ([PASSED, SIGNED, LIST, POST], True),
        ([PASSED, SIGNED, LIST], False),
        ([PASSED, LIST, POST], False),
        ([SIGNED, LIST, POST], False),
        ([PASSED.replace("pass", "fail"), SIGNED, LIST, POST], False),
        ([PASSED.replace("d=x", "d=y"), SIGNED, LIST, POST], False),
        ([PASSED.replace(OURS, "evil.test"), SIGNED, LIST, POST], False),
        ([PASSED, SIGNED.replace("List-Unsubscribe-Post", "To"), LIST, POST], False),
        ([PASSED, SIGNED, LIST.replace("https", "http"), POST], False),
        ([PASSED, SIGNED, LIST, POST.replace("One", "Two")], False),
        ([PASSED, SIGNED, "List-Unsubscribe: <https://evil.test/>", LIST, POST], False),
    ],
)
def test_one_click_only_where_rfc_8058_allows(headers: list[str], one_click: bool) -> None:
    found = parse("\r\n".join([*headers, "", ""]).encode(), authserv_id=OURS).list_unsubscribe
    assert found is not None
    assert found.one_click is one_click


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<https://x.test/u>", Unsubscribe("https://x.test/u", None, False)),
        ("<mailto:u@x.test>", Unsubscribe(None, "mailto:u@x.test", False)),
        ("<javascript:x>, <http://x.test/>, <https:>", None),
        ("https://x.test/u", None),
        ("", None),
    ],
)
def test_only_https_and_mail_unsubscribe(value: str, found: Unsubscribe | None) -> None:
    assert parse(f"List-Unsubscribe: {value}\r\n\r\n".encode()).list_unsubscribe == found
