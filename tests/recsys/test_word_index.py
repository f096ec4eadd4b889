import math

import numpy as np
import pytest

from recsys.word_index import WordIndex, words_of

TEXTS = ["sony wh-1000xm4 black", "black beans", "bean burger", "butter", "black black tea"]
INDEX = WordIndex.of(TEXTS)


def best(query: str) -> list[str]:
    scores = INDEX.matches(query).scores
    return [TEXTS[i] for i in np.argsort(-scores, kind="stable") if scores[i] > 0]


def test_words_are_runs_of_letters_and_digits() -> None:
    assert words_of("Crème-Fraîche, 2x_100 g") == ["crème", "fraîche", "2x", "100", "g"]
    assert words_of(" -- ") == []


def test_a_model_number_finds_its_item() -> None:
    assert best("1000XM4") == ["sony wh-1000xm4 black"]


def test_a_prefix_counts_half_and_whole_words_come_first() -> None:
    assert best("bean") == ["bean burger", "black beans"]
    assert best("butt") == ["butter"]
    assert best("bu") == []  # too short to begin a word with


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    assert best("black tea")[0] == "black black tea"
    assert best("black sony")[0] == "sony wh-1000xm4 black"


def test_the_score_is_bm25() -> None:
    [score] = INDEX.matches("butter").scores[[3]]
    lengths = [4, 2, 2, 1, 3]  # mean 2.4
    saturation = 1.2 * (1 - 0.5 + 0.5 * 1 / (sum(lengths) / 5))
    assert score == pytest.approx(math.log(1 + 4.5 / 1.5) * 2.2 / (1 + saturation), rel=1e-6)


def test_words_that_no_text_has_are_told_from_those_that_some_have() -> None:
    found = INDEX.matches("black xqzzt")
    assert (found.num_known, found.num_words) == (1, 2)
    assert found.num_found.tolist() == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("query", ["", "---", "xqzzt"])
def test_nothing_is_found_for_nothing(query: str) -> None:
    assert not INDEX.matches(query).scores.any()


def test_an_index_of_no_texts_finds_nothing() -> None:
    assert WordIndex.of([]).matches("black").scores.tolist() == []


def test_later_texts_are_found_beside_the_first_ones() -> None:
    grown = WordIndex.of(TEXTS).extended(["white beans"]).extended(["black beans and beans"])
    found = grown.matches("beans")
    assert np.flatnonzero(found.num_found).tolist() == [1, 5, 6]
    whole = WordIndex.of([*TEXTS, "white beans", "black beans and beans"], grown.mean_length)
    for query in ("beans", "black", "bea", "sony"):
        np.testing.assert_allclose(grown.matches(query).scores, whole.matches(query).scores)
    assert INDEX.num_texts == len(TEXTS)
