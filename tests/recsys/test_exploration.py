from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.click_rates import ClickRates
from recsys.config import ExplorationConfig
from recsys.exploration import explored, upper_rates

ROWS = np.arange(20)
NEW = ROWS >= 15
CONFIG = ExplorationConfig(share=0.5, slots=(1, 3), pool=4)


def test_equal_seeds_draw_equally_and_others_do_not() -> None:
    lists = {tuple(explored(ROWS, NEW, CONFIG, f"user {i}").rows.tolist()) for i in range(50)}
    assert len(lists) > 5
    assert all(sorted(found) == ROWS.tolist() for found in lists)
    again = [explored(ROWS, NEW, CONFIG, "user 1") for _ in range(2)]
    assert again[0].rows.tolist() == again[1].rows.tolist()


def test_draws_come_as_often_as_their_propensity_says() -> None:
    at_first_slot: Counter[int] = Counter()
    for i in range(1500):
        found = explored(ROWS, NEW, CONFIG, str(i))
        row = int(found.rows[1])
        at_first_slot[row] += 1
        assert found.propensity[row] == (0.125 if row >= 15 else 0.5)  # .5 / 4 of the pool, or kept
    assert set(at_first_slot) == {1, 15, 16, 17, 18}
    assert at_first_slot[1] / 1500 == pytest.approx(0.5, abs=0.05)
    assert at_first_slot[15] / 1500 == pytest.approx(0.125, abs=0.03)


def test_a_second_draw_is_from_what_the_first_left() -> None:
    sure = CONFIG.model_copy(update={"share": 1.0})
    found = explored(ROWS, NEW, sure, "x")
    first, second = found.drawn.tolist()
    assert first != second
    assert found.propensity == {first: 1 / 4, second: 1 / 3}
    assert found.rows[[1, 3]].tolist() == [first, second]
    assert found.rows[[0, 2, 4]].tolist() == [0, 1, 2]


def test_without_new_items_or_places_nothing_is_drawn() -> None:
    for rows, new in ((ROWS, np.zeros(20, np.bool_)), (ROWS[:2], np.ones(20, np.bool_))):
        found = explored(rows, new, CONFIG, "x")
        assert found.rows.tolist() == rows.tolist()
        assert found.propensity == {}


@pytest.mark.parametrize("slots", [(), (-1, 2), (3, 3), (4, 2)])
def test_slots_ascend_from_0(slots: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        ExplorationConfig(share=0.1, slots=slots)


def test_promising_items_are_drawn_more_often_and_none_less_than_the_floor() -> None:
    config = CONFIG.model_copy(update={"floor": 0.4, "slots": (1,), "share": 1.0})
    worth = np.where(ROWS == 15, 9.0, 1.0)
    expected = {15: 0.4 / 4 + 0.6 * 9 / 12, **dict.fromkeys((16, 17, 18), 0.4 / 4 + 0.6 / 12)}
    seen: Counter[int] = Counter()
    for i in range(1500):
        found = explored(ROWS, NEW, config, str(i), worth)
        [row] = found.drawn.tolist()
        seen[row] += 1
        assert found.propensity[row] == pytest.approx(expected[row])
    assert {row: count / 1500 for row, count in seen.items()} == pytest.approx(expected, abs=0.04)


def test_little_evidence_leaves_a_rate_room_upwards() -> None:
    rates = ClickRates(np.asarray([0.0, 10_000.0]), np.full(2, 0.1), np.full(2, 0.1), 0.1)
    upper = upper_rates(rates, np.asarray([0, 1]))
    assert upper is not None
    assert upper.tolist() == pytest.approx([0.4, 0.103], abs=1e-4)
    assert upper_rates(None, np.asarray([0])) is None
