"""What people type into the search box is read as they mean it, and never raises."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.query import (
    FIELDS,
    FLAGS,
    OCTETS_MAX,
    QUERY_MAX,
    READERS,
    TERMS_MAX,
    UNITS,
    VOCABULARIES,
    AtLeast,
    Flag,
    In,
    Query,
    Since,
    Term,
    Words,
    parse,
    spelled,
)

pytestmark = pytest.mark.once

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


def words(*forms: str, **more: object) -> Words:
    return Words(tuple(tuple(form.split()) for form in forms), **more)  # type: ignore[arg-type]


def day(year: int, month: int = 1, number: int = 1) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("   ", []),
        ("- -- & …", []),
        ("invoice", [words("invoice", prefix=True)]),
        ("invoice May ", [words("invoice"), words("may", prefix=True)]),
        ("ab", [words("ab")]),
        ("inv* x", [words("inv", prefix=True), words("x")]),
        ("in* x", [words("in"), words("x")]),
        ('"invoice"', [words("invoice")]),
        ('"two words" three', [words("two words"), words("three", prefix=True)]),
        ('"not closed', [words("not closed")]),
        ("“curly quotes”", [words("curly quotes")]),
        ("„deutsche Zeichen“", [words("deutsche zeichen")]),
        ("-spam", [words("spam", negated=True)]),
        ('-"two words"', [words("two words", negated=True)]),
        ("--spam", [words("spam", negated=True)]),
        ("e-mail x", [words("e mail"), words("x")]),
        ("don't x", [words("don t"), words("x")]),
        ("Müller x", [words("muller", "mueller"), words("x")]),
        ("Mueller x", [words("mueller", "muller"), words("x")]),
        ("Straße x", [words("strasse"), words("x")]),
        ("queue blue neuer x", [words("queue"), words("blue"), words("neuer"), words("x")]),
        ("東京都", [words("東京 京都")]),
        ("京", [words("京", prefix=True)]),
        ("ＡＢＣ x", [words("abc"), words("x")]),
        ("from:ann x", [words("ann", field="f"), words("x")]),
        ("from:ann", [words("ann", field="f", prefix=True)]),
        ("FROM:Ann@Example.test x", [words("ann example test", field="f"), words("x")]),
        ('to:"Ann Smith"', [words("ann smith", field="t")]),
        ("-subject:offer", [words("offer", field="s", negated=True)]),
        ("http://a.test/b x", [words("http a test b"), words("x")]),
        ("colour:red x", [words("colour red"), words("x")]),
        ("12:30 x", [words("12 30"), words("x")]),
        ("has:attachment", [Flag("has_attachments", True)]),
        ("-has:attachments", [Flag("has_attachments", False)]),
        ("is:unread", [Flag("seen", False)]),
        ("-is:unread", [Flag("seen", True)]),
        ("is:READ", [Flag("seen", True)]),
        ("is:starred is:answered", [Flag("starred", True), Flag("answered", True)]),
        ("in:inbox", [In("inbox")]),
        ('-in:"My  folder"', [In("My folder", negated=True)]),
        ("in:anywhere", []),
        ("after:2026-11-03", [Since(day(2026, 11, 3))]),
        ("before:2026-11-03", [Since(day(2026, 11, 3), negated=True)]),
        ("-after:2026-11", [Since(day(2026, 11), negated=True)]),
        ("after:2026", [Since(day(2026))]),
        ("after:3.11.2026", [Since(day(2026, 11, 3))]),
        ("after:today", [Since(day(2026, 11, 23))]),
        ("after:yesterday", [Since(day(2026, 11, 22))]),
        ("before:7d", [Since(NOW - timedelta(days=7), negated=True)]),
        ("after:2w", [Since(NOW - timedelta(days=14))]),
        ("larger:5M", [AtLeast(5 * 1024**2)]),
        ("smaller:300k", [AtLeast(300 * 1024, negated=True)]),
        ("-larger:10", [AtLeast(10, negated=True)]),
        ("larger:999999999999999T", [AtLeast(OCTETS_MAX)]),
    ],
)
def test_the_grammar(text: str, terms: list[Term]) -> None:
    assert parse(text, NOW) == Query(tuple(terms))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("from:", "“from:” needs a value behind it, without a space."),
        ('subject:""', "“subject:” needs a value behind it, without a space."),
        ("is:green", "“is:green” is unknown: there is is:unread, is:read, is:starred, is:answered."),
        ("has:fleas", "“has:fleas” is unknown: there is has:attachment."),
        ("after:soon", "“soon” is no date: write 2026-11-03, 2026-11, yesterday or 7d."),
        ("after:2026-02-31", "“2026-02-31” is no date: write 2026-11-03, 2026-11, yesterday or 7d."),
        ("after:99999y", "“99999y” is no date: write 2026-11-03, 2026-11, yesterday or 7d."),
        ("larger:big", "“big” is no size: write 300K or 5M."),
        ("larger:" + "9" * 60, f"“{'9' * 40}…” is no size: write 300K or 5M."),
    ],
)
def test_what_cannot_be_read_is_left_out_and_said(text: str, problem: str) -> None:
    assert parse(f"{text} word", NOW) == Query((words("word", prefix=True),), (problem,))


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("von:ann x", "from:ann x"),
        ("AN:bob x", "to:bob x"),
        ('-betreff:"zwei Worte"', '-subject:"zwei Worte"'),
        ("hat:anhang", "has:attachment"),
        ("hat:attachment has:anhang", "has:attachment"),
        ("ist:ungelesen", "is:unread"),
        ("-ist:gelesen is:beantwortet", "-is:read is:answered"),
        ("Ist:Markiert", "is:starred"),
        ("in:überall in:alles", ""),
        ("in:archiv", "in:archive"),
        ("in:gelesen in:5j in:heute", "in:gelesen in:5j in:heute"),
        ("vor:2026-11", "before:2026-11"),
        ("nach:3.11.2026", "after:2026-11-03"),
        ("nach:gestern before:heute", "after:yesterday before:today"),
        ("vor:7t nach:2j", "before:7d after:2y"),
        ("vor:2w nach:3M", "before:2w after:3m"),
        ("größer:5M", "larger:5M"),
        ("GRÖßER:5M grösser:5M groesser:5M", "larger:5M"),
        ("-kleiner:300K", "-smaller:300K"),
        ("von:heute x", "from:heute x"),
        ("betreff:ungelesen x", "subject:ungelesen x"),
    ],
)
def test_german_readers_have_german_words_and_the_english_ones(german: str, english: str) -> None:
    meant = parse(english, NOW)
    assert meant.problems == ()
    with translation.override("de"):
        found = parse(german, NOW)
        assert parse(english, NOW) == meant, "English always counts"
    assert found.problems == ()
    assert list(dict.fromkeys(found.terms)) == list(meant.terms)


def test_german_words_are_words_where_english_is_read() -> None:
    assert parse("von:ann nach:2026 x", NOW).terms == (words("von ann"), words("nach 2026"), words("x"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("von:", "„von:“ "),
        ("ist:grün", "„ist:grün“"),
        ("ist:grün", "ist:ungelesen, ist:gelesen, ist:markiert, ist:beantwortet"),
        ("hat:flöhe", "hat:anhang"),
        ("nach:bald", "„bald“ ist kein Datum"),
        ("nach:9x", "„9x“ ist kein Datum"),
    ],
)
def test_problems_are_told_in_the_words_of_the_reader(text: str, problem: str) -> None:
    with translation.override("de"):
        [said] = parse(text, NOW).problems
    assert problem in said


@pytest.mark.parametrize("language", ["en", "de", "de-at", "fr"])
@pytest.mark.parametrize(
    "term",
    [
        "from:ann",
        "to:ann",
        "subject:x",
        *FLAGS,
        "in:archive",
        "in:all",
        "before:7d",
        "after:2y",
        "after:today",
        "larger:5M",
        "smaller:5M",
    ],
)
def test_what_people_are_told_to_type_is_understood(language: str, term: str) -> None:
    meant = parse(term, NOW)
    with translation.override(language):
        told = spelled(term)
        assert parse(told, NOW) == meant
    assert (told == term) is (not language.startswith("de"))


def test_no_word_of_a_language_hides_an_english_one() -> None:
    for own in VOCABULARIES.values():
        assert not set(own.operators) & set(READERS)
        assert set(own.operators.values()) | set(own.values) <= set(READERS)
        assert not set(own.units) & set(UNITS)


def test_a_query_that_is_too_long_is_cut() -> None:
    query = parse("x " * QUERY_MAX, NOW)
    assert len(query.terms) == TERMS_MAX
    assert query.problems == (
        "The search is too long: its end was left out.",
        "There are too many terms: the last were left out.",
    )


def test_dates_are_those_of_the_reader() -> None:
    berlin = NOW.astimezone(ZoneInfo("Europe/Berlin"))
    assert parse("after:2026-07", berlin).terms == (Since(datetime(2026, 6, 30, 22, 0, tzinfo=UTC)),)


def test_what_is_to_be_marked() -> None:
    query = parse('-no from:ann "two words" Müller inv', NOW)
    assert query.highlights() == ["ann", "two words", "muller", "mueller", "inv*"]


@given(st.text())
def test_nothing_that_is_typed_raises(text: str) -> None:
    asked = "".join(word for term in parse(text, NOW).words for form in term.forms for word in form)
    assert not set(asked) & set("'\"\\*:&|!<>()- \0")  # nothing that a database's language knows


OPERATORS = [
    "from:",
    "to:",
    "subject:",
    "has:",
    "is:",
    "in:",
    "before:",
    "after:",
    "larger:",
    "smaller:",
    "x:",
    "größer:",
    "vor:",
    "ist:",
]
VALUES = [
    "",
    '"',
    "ann",
    "2026-11",
    "7d",
    "5M",
    "unread",
    "inbox",
    "-",
    "*",
    "東",
    "'",
    "\\",
    "\0",
    "(",
    "a" * 99,
]


@given(st.lists(st.tuples(st.sampled_from(["", "-"]), st.sampled_from(OPERATORS), st.sampled_from(VALUES))))
def test_nothing_that_looks_like_an_operator_raises(pieces: list[tuple[str, str, str]]) -> None:
    for language in ("en", "de"):
        with translation.override(language):
            parse(" ".join(map("".join, pieces)), NOW)


plain = st.from_regex(r"[a-df-z]{1,8}", fullmatch=True)
letters = st.one_of(
    st.tuples(plain, plain).map(lambda two: (f'"{two[0]} {two[1]}"', words(f"{two[0]} {two[1]}"))),
    plain.map(lambda one: (f'"{one}"', words(one))),
    st.tuples(st.sampled_from(sorted(FIELDS)), plain).map(
        lambda two: (f'{two[0]}:"{two[1]}"', words(two[1], field=FIELDS[two[0]]))
    ),
    st.dates(min_value=day(1).date()).map(
        lambda one: (f"after:{one.isoformat()}", Since(datetime(one.year, one.month, one.day, tzinfo=UTC)))
    ),
    st.integers(0, 10**9).map(lambda one: (f"larger:{one}", AtLeast(one))),
    plain.map(lambda one: (f"in:{one}", In(one))).filter(lambda two: two[0] not in {"in:all"}),
)


@given(st.lists(letters, max_size=TERMS_MAX - 1))
def test_what_is_written_by_the_rules_is_read_as_it_was_meant(pieces: list[tuple[str, Term]]) -> None:
    text = " ".join(piece for piece, _ in pieces)
    if len(text) <= QUERY_MAX:
        assert parse(text, NOW) == Query(tuple(term for _, term in pieces))
