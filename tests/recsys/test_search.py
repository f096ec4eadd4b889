import numpy as np
import pytest

from recsys.index import VectorIndex, quantise
from recsys.search import LEAST_SIMILARITY, Sought
from tests.recsys.small_catalogue import greengrocer

CATALOGUE = greengrocer()
AXES = np.eye(len(CATALOGUE.texts), 16)
WORDS = VectorIndex(quantise(AXES), CATALOGUE)
NOBODY = np.zeros(len(CATALOGUE))


def axis(item_id: str, share: float = 1.0) -> np.ndarray:
    """A query that reads to some degree like one item's text."""
    near = share * AXES[CATALOGUE.text_of_item[CATALOGUE.position[item_id]]]
    near[-1] = np.sqrt(1 - share**2)
    vector: np.ndarray = near.astype(np.float32)
    return vector


def sought(text: str, vector: np.ndarray | None = None) -> Sought:
    return Sought(text, vector, CATALOGUE, WORDS)


def ids(positions: np.ndarray) -> list[str]:
    return [CATALOGUE.item_ids[i] for i in positions]


def test_items_with_more_of_the_words_come_first_and_those_with_half_do_not_come() -> None:
    assert ids(sought("red cherry").with_words(NOBODY, 10)) == ["cherry"]
    assert set(ids(sought("red").with_words(NOBODY, 10))) == {"apple-1", "cherry", "beet"}
    assert ids(sought("red xqzzt").with_words(NOBODY, 2)) == ids(sought("red").with_words(NOBODY, 2))


def test_of_items_with_equal_texts_the_popular_come_first_and_of_the_others_one() -> None:
    popularity = NOBODY.copy()
    popularity[CATALOGUE.positions(["apple-1", "apple-2"])] = 1, 2
    assert ids(sought("red apple").with_words(popularity, 10)) == ["apple-2", "apple-1"]
    assert ids(sought("red apple").with_words(NOBODY, 10)) == ["apple-1"]


def test_what_reads_alike_is_found_without_its_words() -> None:
    assert ids(sought("purple root", axis("beet")).nearest(NOBODY, 10)) == ["beet"]


@pytest.mark.parametrize(
    ("share", "found"), [(LEAST_SIMILARITY - 0.02, []), (LEAST_SIMILARITY + 0.02, ["leek"])]
)
def test_what_reads_too_little_alike_is_not(share: float, found: list[str]) -> None:
    assert ids(sought("nonsense", axis("leek", share)).nearest(NOBODY, 10)) == found


def test_without_an_encoder_only_the_words_are_found() -> None:
    assert ids(sought("green").nearest(NOBODY, 10)) == []
    assert ids(sought("green").with_words(NOBODY, 10))


def test_relevance_is_the_cosine_and_half_the_share_of_words_in_fifths() -> None:
    asked = sought("red cherry", axis("cherry", 0.75))
    wanted = CATALOGUE.positions(["cherry", "beet", "kale"])
    assert asked.relevance(wanted).tolist() == pytest.approx([1.2, 0.0, 0.0])  # .75 + 1/2, none enough, none
    assert sought("red").relevance(wanted).tolist() == pytest.approx([0.4, 0.4, 0.0])
