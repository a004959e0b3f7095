"""Marks stand where the search found something, and the text stays as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes import highlight
from mailboxes.highlight import LEAD, STRETCH, TEXT_MAX, cut, mark

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "wanted", "marked"),
    [
        ("Ihre Rechnung", ["rechn*"], ["Rechnung"]),
        ("Ihre Rechnung", ["rechn"], []),
        ("Herr MÜLLER, Frau Mueller", ["muller", "mueller"], ["MÜLLER", "Mueller"]),
        ("Ann Smith and Ann", ["ann smith"], ["Ann Smith"]),
        ("ann.smith@x.test", ["ann smith x test"], ["ann.smith@x.test"]),
        ("quarterly reports", ["quarterly rep*"], ["quarterly reports"]),
        ("東京都庁", ["東京 京都"], ["東京都"]),
        ("東京都庁", ["京*"], ["京都"]),
        ("<b>bold</b>", ["b"], ["b", "b"]),
        ("e-mail", ["e", "mail"], ["e", "mail"]),
        ("a a a", ["a a"], ["a a a"]),
        ("nothing", [], []),
        ("nothing", ["", "*"], []),
        ("", ["x"], []),
    ],
)
def test_marks(text: str, wanted: list[str], marked: list[str]) -> None:
    segments = mark(text, wanted)
    assert [piece for piece, is_match in segments if is_match] == marked
    assert "".join(piece for piece, _ in segments) == text


@pytest.mark.parametrize(
    ("text", "wanted", "marked"),
    [
        ("กิ่นข้าว", "กิ", "กิ่"),  # a tone above the vowel
        ("東\U000e0100京都", "東", "東\U000e0100"),  # a variant of an ideograph
        ("가\u11a8나", "가*", "가\u11a8"),  # a letter that is joined to a syllable
        ("cafe\u0301 au lait", "cafe", "cafe\u0301"),
    ],
)
def test_no_mark_ends_within_a_character(text: str, wanted: str, marked: str) -> None:
    assert [piece for piece, is_match in mark(text, [wanted]) if is_match] == [marked]


FILLER = "Many words that say nothing of it. " * 40


@pytest.mark.parametrize(
    ("text", "wanted", "shown"),
    [
        ("Ihre Rechnung", ["rechn*"], "Ihre Rechnung"),
        ("Ihre Rechnung", ["rechn"], ""),
        ("", ["x"], ""),
        ("nothing", [], ""),
        (f"{FILLER}Ihre Rechnung vom Montag", ["rechn*"], "… nothing of it. Ihre Rechnung vom Montag"),
        (f"{FILLER}東京都庁", ["東京"], "… say nothing of it. 東京都庁"),
        ("会議" * 600 + "東京都庁", ["東京"], "… " + "会議" * 6 + "東京都庁"),
        # There where most of it stands, though one word stands before.
        (
            f"An estimate. {FILLER}the estimate of 7 May",
            ["estimate", "may"],
            "… it. the estimate of 7 May",
        ),
        # Not within another word, though it is looked for piece by piece.
        (f"{FILLER}preinvoice, the invoice", ["invoice"], "… of it. preinvoice, the invoice"),
        ("preinvoices " * 500, ["invoice"], ""),
    ],
)
def test_a_text_is_cut_to_where_something_was_found(text: str, wanted: list[str], shown: str) -> None:
    assert cut(text, wanted, 60) == shown


@pytest.mark.parametrize(
    "before", [*range(STRETCH - 30, STRETCH + 5), *range(2 * STRETCH - 30, 2 * STRETCH + 5)]
)
def test_a_phrase_is_found_wherever_a_long_text_is_divided(before: int) -> None:
    assert cut("x" * (before % 7) + " y" * before, ["big garden shed"], 60) == ""
    text = ("." * before)[:before] + " the big garden shed" + " of wood" * 300
    assert "the big garden shed of wood" in cut(text, ["big garden shed"], 80)


@given(st.text(alphabet="ab กิ่東京e\u0301\u200d👩가ß.", max_size=300), st.integers(1, 50))
def test_what_is_cut_out_stands_there_and_has_a_mark(text: str, most: int) -> None:
    text = " ".join(text.split())
    wanted = ["a", "東京", "กิ*"]
    shown = cut(text, wanted, most + LEAD * 2)
    assert shown.removeprefix("… ") in text
    assert bool(shown) == any(is_match for _, is_match in mark(text, wanted))
    assert not shown or any(is_match for _, is_match in mark(shown, wanted))


@given(st.text(), st.lists(st.text(max_size=5)))
def test_the_text_stays_as_it_was(text: str, wanted: list[str]) -> None:
    segments = mark(text, wanted)
    assert "".join(piece for piece, _ in segments) == text
    assert all(piece for piece, _ in segments)


def test_of_a_long_text_only_the_beginning_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    real = highlight.fits

    def counted(there: list[str], words: list[str], prefix: bool) -> bool:
        looked.append(len(there))
        return real(there, words, prefix)

    monkeypatch.setattr(highlight, "fits", counted)
    segments = mark("a " * 500_000, [" ".join("a" * 20)] * 20)
    # One phrase, though it is wanted 20 times, at each of the 25,000 words of the beginning.
    assert len(looked) == TEXT_MAX // 2
    assert max(looked) == 20
    assert segments == [("a " * 24_999 + "a", True), (" " + "a " * 475_000, False)]
