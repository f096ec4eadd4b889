import numpy as np
import pytest

from recsys.strings import GrownTexts, Strings

TEXTS = ["", "apple", "äpple", "leek", "\U0001d552"]
PACKED = Strings.of(sorted(TEXTS))


def test_packed_texts_are_read_one_by_one() -> None:
    assert list(PACKED) == sorted(TEXTS)
    assert PACKED[-1] == max(TEXTS)
    assert PACKED[np.int32(1)] == "apple"
    assert PACKED[1:3] == sorted(TEXTS)[1:3]
    assert list(Strings.of([])) == []


def test_behind_the_last_text_there_is_none() -> None:
    with pytest.raises(IndexError):
        PACKED[len(TEXTS)]


def test_a_text_is_found_among_the_first_and_the_later_ones() -> None:
    grown = GrownTexts.of(PACKED).with_more(["plum", "leek", "kale", "plum"]).with_more(["kale", "fig"])
    assert list(grown) == [*sorted(TEXTS), "plum", "kale", "fig"]
    assert [grown.find(text) for text in grown] == list(range(len(grown)))
    assert grown.find("beet") == -1
    assert grown[len(TEXTS) :] == ["plum", "kale", "fig"]
    assert GrownTexts.of(grown) is grown
