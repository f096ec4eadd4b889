import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.click_rates import ClickRates
from recsys.index import VectorIndex
from recsys.leaning import VARIANCES, Leaning, lean, residuals
from recsys.schema import ITEM_ID, PRICE, TAGS, TITLE
from recsys.user_items import Shown
from tests.recsys.small_catalogue import items_frame

ITEMS = "abcdef"
RED, BLUE, NEITHER = (0, 1), (2, 3), (4, 5)


def catalogue(*, priced: bool = False) -> Catalogue:
    """Two red items, two blue ones and two that share no word with any; dearer ones later."""
    tags = [["red"], ["red"], ["blue"], ["blue"], None, None]
    rows = zip(ITEMS, tags, strict=True)
    return Catalogue(
        items_frame(
            *(
                {ITEM_ID: i, TITLE: i, TAGS: words, PRICE: float(ord(i)) if priced else None}
                for i, words in rows
            )
        )
    )


def axes(items: Catalogue) -> VectorIndex:
    return VectorIndex((127 * np.eye(len(items))).astype(np.int8), items)


def equal_rates(items: Catalogue) -> ClickRates:
    half = np.full(len(items), 0.5)
    return ClickRates(np.full(len(items), 100.0), half, half, 0.5)


def shown(*rows: tuple[int, int, int]) -> Shown:
    """Of catalogue position, times shown and times chosen."""
    return Shown(*np.asarray(rows, np.int64).reshape(-1, 3).T)


def leaning(seen: Shown, items: Catalogue) -> Leaning:
    return lean(seen, equal_rates(items), np.arange(len(items)), items, axes(items))


def test_what_is_chosen_as_often_as_not_by_a_user_who_does_so_tells_nothing() -> None:
    surprise, weight = residuals(np.zeros(2), shown((0, 2, 1), (1, 2, 1)))
    assert surprise.tolist() == pytest.approx([0, 0])
    assert weight.tolist() == pytest.approx([0.5, 0.5])


def test_the_users_own_readiness_is_taken_off() -> None:
    # the offset a solves 4 sigma(a) + a / 4 = 4
    surprise, weight = residuals(np.zeros(2), shown((0, 2, 2), (1, 2, 2)))
    chance = 1 - surprise / 2
    offset = np.log(chance / (1 - chance))
    assert (4 * chance + offset / 4).tolist() == pytest.approx([4, 4])
    assert weight.tolist() == pytest.approx((2 * chance * (1 - chance)).tolist())
    assert 0 < surprise[0] < 0.5


def test_one_item_leans_by_its_residual_over_what_is_certain() -> None:
    items = catalogue()
    seen = shown((4, 1, 1))  # an item without words: the same and its text speak for it
    (surprise,), (weight,) = residuals(np.zeros(1), seen)
    variance = VARIANCES["same"] + VARIANCES["text"] + VARIANCES["near_text"]
    assert leaning(seen, items).total[4] == pytest.approx(variance * surprise / (1 + variance * weight))


def test_a_tag_chosen_over_another_is_leaned_to() -> None:
    total = leaning(shown((RED[0], 3, 3), (BLUE[0], 3, 0)), catalogue()).total
    assert total[RED[0]] > total[RED[1]] > max(total[list(NEITHER)]) > total[BLUE[1]] > total[BLUE[0]]
    assert total[list(NEITHER)] == pytest.approx([0, 0], abs=1e-3)


def test_numbers_alone_can_be_leaned_to() -> None:
    parts = leaning(shown((0, 3, 3), (5, 3, 0)), catalogue(priced=True)).parts
    assert parts["numbers"][0] > parts["numbers"][1] > 0 > parts["numbers"][4] > parts["numbers"][5]
    assert not leaning(shown((0, 3, 3), (5, 3, 0)), catalogue()).parts["numbers"].any()


def test_who_was_shown_nothing_leans_to_nothing() -> None:
    assert leaning(shown(), catalogue()).total.tolist() == [0] * len(ITEMS)


def test_choosing_everything_or_nothing_is_finite() -> None:
    for chosen in (0, 50):
        assert np.isfinite(leaning(shown((0, 50, chosen), (2, 50, chosen)), catalogue()).total).all()
