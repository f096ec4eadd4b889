import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.blurbs.trimming import trimmed

FAMILY = "👨‍👩‍👧"


@pytest.mark.parametrize(
    ("text", "most", "cut"),
    [
        ("Solid oak.", 10, "Solid oak."),
        ("Solid oak. Oiled by hand.", 20, "Solid oak."),
        ("Solid oak, oiled by hand.", 18, "Solid oak, oiled…"),
        ("A. Oak, ash and beech from near by.", 20, "A. Oak, ash and…"),
        ("Unbreakable", 5, ""),
        (FAMILY * 3, 3, FAMILY * 3),
        (f"a{FAMILY} b{FAMILY} c{FAMILY}", 6, f"a{FAMILY} b{FAMILY}…"),
        ("e\u0301te\u0301", 3, "e\u0301te\u0301"),
        ("实木面包板,手工上油。长三十五厘米。", 12, "实木面包板,手工上油。"),
        ("实木面包板手工上油长三十五厘米", 8, "实木面包板手工…"),
    ],
)
def test_a_text_is_cut_after_a_sentence_else_after_a_word(text: str, most: int, cut: str) -> None:
    assert trimmed(text, most) == cut


@given(st.text("ab .,\u0301\u200d👨👩实。…", max_size=60), st.integers(1, 40))
def test_what_is_cut_fits_and_is_a_beginning(text: str, most: int) -> None:
    cut = trimmed(text, most)
    assert trimmed(cut, most) == cut
    assert text.startswith(cut.removesuffix("…")) or cut == text
