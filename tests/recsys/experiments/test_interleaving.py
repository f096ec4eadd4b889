"""Team draft against its exact distribution, found by following every coin."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.experiments.interleaving import Draft, coins, draft, draft_seed, shared_prefix, team_draft

RANKINGS = st.lists(st.sampled_from("uvwxyz"), unique=True, max_size=6)


def distribution(a: str, b: str, limit: int | None = None) -> dict[tuple[str, str], float]:
    """Probability of every list and its teams: all strings of coins weigh the same."""
    num_coins = len({*a, *b})
    found: Counter[tuple[str, str]] = Counter()
    for flips in product((True, False), repeat=num_coins):
        drafted = draft(a, b, iter(flips), limit)
        found["".join(drafted.item_ids), "".join(drafted.teams)] += 1
    return {outcome: count / 2**num_coins for outcome, count in found.items()}


def test_two_items_in_opposite_orders_have_the_published_distribution() -> None:
    assert distribution("xy", "yx") == {("xy", "ab"): 0.5, ("yx", "ba"): 0.5}


def test_equal_rankings_give_each_team_each_round_once() -> None:
    assert distribution("xyz", "xyz") == {
        ("xyz", teams): 0.25 if teams[2] == last else 0.0
        for teams in ("aba", "abb", "baa", "bab")
        for last in (teams[2],)
    }


def test_three_items_have_the_distribution_that_is_counted_by_hand() -> None:
    assert distribution("xyz", "yxw") == {
        ("xyzw", "abab"): 0.25,  # a first: x, y; then z by a and w by b, or w by b and z by a
        ("xywz", "abba"): 0.25,
        ("yxzw", "baab"): 0.25,
        ("yxwz", "baba"): 0.25,
    }


def test_seeds_draw_from_the_exact_distribution() -> None:
    exact = distribution("xyz", "zyw", limit=3)
    drawn = Counter(
        ("".join(found.item_ids), "".join(found.teams))
        for found in (team_draft("xyz", "zyw", str(seed), 3) for seed in range(4_000))
    )
    assert drawn.keys() == exact.keys()
    chi2 = sum((drawn[key] - 4_000 * share) ** 2 / (4_000 * share) for key, share in exact.items())
    assert chi2 < 20  # p < 1e-3 at three degrees of freedom


@given(RANKINGS, RANKINGS, st.integers(), st.none() | st.integers(1, 4))
def test_a_draft_holds_every_item_once_and_teams_pick_in_turn(
    a: list[str], b: list[str], seed: int, limit: int | None
) -> None:
    found = team_draft(a, b, str(seed), limit)
    everything = {*a, *b}
    assert len(found.item_ids) == len(set(found.item_ids)) == min(len(everything), limit or len(everything))
    assert found == team_draft(a, b, str(seed), limit)
    for ranking, team in ((a, "a"), (b, "b")):
        picked = [item for item, whose in zip(found.item_ids, found.teams, strict=True) if whose == team]
        assert picked == [item for item in ranking if item in picked]
    if len({*a} - {*b}) == len({*b} - {*a}) == 0 or min(len(a), len(b)) >= len(found.item_ids):
        for at in range(len(found.teams)):
            assert abs(found.teams[:at].count("a") - found.teams[:at].count("b")) <= 1


def test_what_a_page_cuts_off_does_not_change_what_it_shows() -> None:
    whole, page = (team_draft("uvwxyz", "zyxwvu", "s", limit) for limit in (None, 3))
    assert whole.item_ids[:3] == page.item_ids


def test_one_ranking_that_runs_out_leaves_the_rest_to_the_other() -> None:
    assert draft("", "xy", iter(())) == Draft(("x", "y"), ("b", "b"))
    assert draft("x", "xyz", iter([True])).teams == ("a", "b", "b")


def test_coins_are_fair_and_differ_from_seed_to_seed() -> None:
    heads = [sum(islice(coins(str(seed)), 600)) for seed in range(100)]
    assert sum(heads) / 60_000 == pytest.approx(0.5, abs=0.01)
    firsts: Iterator[bool] = (next(coins(draft_seed("salt", f"user {n}", "request"))) for n in range(4_000))
    assert sum(firsts) / 4_000 == pytest.approx(0.5, abs=0.03)


def test_places_that_both_fill_alike_are_counted() -> None:
    assert [shared_prefix(*pair) for pair in (("xyz", "xyw"), ("xy", "yx"), ("", "x"))] == [2, 0, 0]
