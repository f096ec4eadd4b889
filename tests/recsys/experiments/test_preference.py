from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy import stats

from recsys.errors import DataError
from recsys.experiments.definition import Analysis
from recsys.experiments.interleaving import draft_seed, team_draft
from recsys.experiments.preference import preference
from tests.recsys.experiments.small_experiment import experiment

LISTS = pl.DataFrame(
    {
        "list_id": ["1", "2", "3", "4"],
        "user_id": ["u", "u", "v", "w"],
        "item_ids": [["x", "y"]] * 4,
        "teams": [["a", "b"], ["b", "a"], ["a", "b"], ["a", "b"]],
    }
)
CLICKS = pl.DataFrame({"list_id": ["1", "1", "2", "3", "3", "9"], "item_id": ["x", "x", "y", "x", "y", "x"]})


def test_clicks_go_to_the_team_that_picked_the_item() -> None:
    found = preference(LISTS, CLICKS, Analysis(expected_units=3))
    assert (found.wins_a, found.wins_b, found.ties) == (2, 0, 2)
    assert (found.clicks_a, found.clicks_b) == (3, 1)
    assert found.delta == pytest.approx((2 + 2 / 2) / 4 - 1 / 2)
    test = stats.ttest_1samp([1.0, 0.0, 0.0], 0.0)  # u has two lists won by a, v a tie, w nothing
    assert found.credit == pytest.approx(1 / 3, rel=1e-9)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()), rel=1e-9)
    assert found.sign_p_value == 1.0
    assert found.verdict == "undecided"


def test_what_cannot_be_told_is_null_in_the_document() -> None:
    found = preference(LISTS.head(1), CLICKS).document()
    assert found["std_error"] is None
    assert found["wins_a"] == 1


def test_nothing_clicked_and_nobody_there_decide_nothing() -> None:
    for lists in (LISTS, LISTS.head(1), LISTS.clear()):
        found = preference(lists, CLICKS.clear())
        assert (found.verdict, found.p_value, found.delta) == ("undecided", 1.0, 0.0)


def shown(
    random: np.random.Generator, num_users: int, liking: dict[str, float]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Users with three lists each, who click items by how they like them and by whim."""
    lists, clicks = [], []
    for user in range(num_users):
        whim = random.uniform(0.2, 1.0)
        for visit in range(3):
            list_id = f"{user}-{visit}"
            drafted = team_draft("xyzw", "zwxy", draft_seed("s", str(user), f"{visit}{random.random()}"), 3)
            lists.append((list_id, str(user), list(drafted.item_ids), list(drafted.teams)))
            clicks += [(list_id, item) for item in drafted.item_ids if random.random() < whim * liking[item]]
    return (
        pl.DataFrame(lists, schema=LISTS.schema, orient="row"),
        pl.DataFrame(clicks, schema=CLICKS.schema, orient="row"),
    )


def test_the_ranking_that_puts_the_better_items_first_is_preferred() -> None:
    found = preference(*shown(np.random.default_rng(0), 400, {"x": 0.6, "y": 0.5, "z": 0.3, "w": 0.2}))
    assert found.verdict == "a"
    assert found.sign_p_value < 0.01
    assert found.share_of_slots_a == pytest.approx(0.5, abs=0.03)


def test_where_all_items_are_alike_a_preference_is_found_as_rarely_as_alpha_says() -> None:
    random = np.random.default_rng(1)
    alike = dict.fromkeys("xyzw", 0.4)
    plan = Analysis(expected_units=30)
    wrong = sum(preference(*shown(random, 30, alike), plan).p_value < 0.05 for _ in range(100))
    assert stats.binomtest(wrong, 100, 0.05).pvalue > 0.001


def clicked(values: Sequence[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A list for each user, on which ``a`` or ``b`` got the click, or nobody."""
    ids = [str(number) for number in range(len(values))]
    lists = pl.DataFrame({"list_id": ids, "user_id": ids}).with_columns(
        item_ids=pl.lit(["x", "y"]), teams=pl.lit(["a", "b"])
    )
    clicks = [(i, "x" if value > 0 else "y") for i, value in zip(ids, values, strict=True) if value]
    return lists, pl.DataFrame(clicks, schema=CLICKS.schema, orient="row")


def test_a_preference_without_a_plan_may_be_read_at_any_time_and_one_with_a_plan_decides_there() -> None:
    data = clicked([1] * 123 + [-1] * 90 + [0] * 187)  # 2.3 standard errors
    assert preference(*data, Analysis(expected_units=400)).verdict == "a"
    early = preference(*data, Analysis(expected_units=500))
    assert (early.verdict, early.p_value < 0.05) == ("undecided", True)
    assert "400 of 500 planned users" in early.reason
    for anytime in (Analysis(), Analysis(method="always_valid", expected_units=400)):
        found = preference(*data, anytime)
        assert (found.verdict, found.low < 0 < found.high) == ("undecided", True)
        assert found.p_value > 0.05
        assert preference(*clicked([1] * 200 + [-1] * 60 + [0] * 140), anytime).verdict == "a"


def test_few_users_and_users_who_are_all_alike_decide_nothing() -> None:
    two = preference(*clicked([1, 1]))
    assert (two.verdict, two.p_value, two.reason) == ("undecided", 1.0, "fewer than 200 users")
    alike = preference(*clicked([1] * 300))
    assert (alike.verdict, alike.p_value) == ("undecided", 1.0)
    assert preference(*clicked([1] * 150 + [0] * 49)).reason == "fewer than 200 users"


def test_interleaving_refuses_the_method_that_needs_a_book() -> None:
    arms = [{"key": "control", "weight": 0.5}, {"key": "treatment", "weight": 0.5, "model": "m2"}]
    with pytest.raises(ValidationError, match="to interleave, got 'group_sequential'"):
        experiment(
            interleave=True, arms=arms, analysis={"method": "group_sequential", "expected_units": 1000}
        )


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (pl.concat([LISTS, LISTS.head(1)]), "once"),
        (LISTS.with_columns(teams=pl.Series([["a"]] * 4)), "a team per item"),
        (LISTS.with_columns(teams=pl.Series([["a", "c"]] * 4)), "got 'c'"),
    ],
)
def test_what_is_wrong_with_the_lists_is_named(lists: pl.DataFrame, words: str) -> None:
    with pytest.raises(DataError, match=words):
        preference(lists, CLICKS)
