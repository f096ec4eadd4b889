"""What every baseline must do, on a shop whose right answers are known."""

import polars as pl
import pytest

from recsys.schema import EFFECTIVE_TIME, EVENT_TIME
from tests.tiny_shop import CUT_MS, GROUP_SIZE, TinyShop, group_of, tiny_shop
from tests.training.baselines.small_log import items_of, shop_log
from training.baselines.als import Als
from training.baselines.baseline import Baseline, Fitted
from training.baselines.ease import Ease
from training.baselines.interactions import Interactions
from training.baselines.item_knn import ItemKnn
from training.baselines.tifu_knn import TifuKnn
from training.baselines.two_stage import TwoStageLightgbm

BASELINES: dict[str, Baseline] = {
    "item_knn cosine": ItemKnn("cosine", decay_per_week=0.9, keep_self=True),
    "item_knn transitions": ItemKnn("transitions", keep_self=True),
    "ease": Ease(ridge=10.0, own_weight=1.0),
    "ease recent": Ease(decay_per_week=0.9, ridge=10.0, popularity_power=0.3, own_weight=1.0),
    "als": Als(num_factors=5, regularization=0.1, decay_per_week=0.8),
    "tifu_knn": TifuKnn(decay_per_week=0.8, num_neighbours=20),
    "two_stage_lightgbm": TwoStageLightgbm(
        window_days=14, num_windows=3, num_candidates=15, num_trees=30, num_leaves=7, learning_rate=0.2
    ),
}

Made = tuple[Baseline, Fitted]


@pytest.fixture(scope="module")
def shop() -> TinyShop:
    return tiny_shop()


@pytest.fixture(scope="module")
def log() -> Interactions:
    return shop_log()


@pytest.fixture(scope="module", params=list(BASELINES.values()), ids=list(BASELINES))
def made(request: pytest.FixtureRequest, log: Interactions) -> Made:
    baseline: Baseline = request.param
    return baseline, baseline.fit(log)


@pytest.fixture(scope="module")
def users(shop: TinyShop) -> pl.Series:
    return pl.Series(sorted(shop.withheld))


def test_the_withheld_item_is_the_best_of_what_is_new(made: Made, users: pl.Series, shop: TinyShop) -> None:
    found = made[1].lists(users, 3, novel=True)
    assert {user: items_of(found, user)[0] for user in users} == shop.withheld


def test_what_a_user_buys_all_the_time_comes_first(made: Made, users: pl.Series, shop: TinyShop) -> None:
    found = made[1].lists(users, GROUP_SIZE - 1)
    for user in users:
        ours = items_of(found, user)
        assert {group_of(item) for item in ours} == {group_of(user)}
        assert len(set(ours) & set(shop.regular[user])) >= GROUP_SIZE - 2


def test_novel_lists_hold_nothing_that_the_user_had(made: Made, users: pl.Series, log: Interactions) -> None:
    found = made[1].lists(users, 10, novel=True)
    assert found.join(log.events, on=["user_id", "item_id"], how="semi").is_empty()
    assert found.group_by("user_id").len()["len"].to_list() == [10] * len(users)


def test_lists_are_sorted_ranked_and_without_repeats(made: Made, users: pl.Series) -> None:
    found = made[1].lists(users.reverse(), 12)
    assert found["user_id"].is_sorted()
    assert found.select("user_id", "item_id").is_unique().all()
    assert all(len(items_of(found, user)) == 12 for user in users)


def test_a_user_alone_gets_the_same_list_as_among_others(made: Made, users: pl.Series) -> None:
    together = made[1].lists(users, 5)
    alone = made[1].lists(users[3:4], 5)
    assert items_of(alone, users[3]) == items_of(together, users[3])


def test_an_unknown_user_gets_popular_items(made: Made) -> None:
    nobody, nobody_else = (made[1].lists(pl.Series([name]), 4) for name in ("nobody", "nobody else"))
    assert items_of(nobody, "nobody") == items_of(nobody_else, "nobody else")
    assert nobody.height == 4


def test_a_list_may_be_longer_than_the_catalogue(made: Made, users: pl.Series, log: Interactions) -> None:
    assert items_of(made[1].lists(users, 1_000), users[0]).sort() == log.items.copy().sort()


def test_the_future_changes_nothing_and_neither_does_a_second_fit(
    made: Made, users: pl.Series, shop: TinyShop
) -> None:
    past = shop.history.with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))
    again = made[0].fit(Interactions.of(past.sample(fraction=1, shuffle=True, seed=1), CUT_MS))
    for novel in (False, True):
        assert again.lists(users, 8, novel=novel).equals(made[1].lists(users, 8, novel=novel))


def test_items_beyond_the_core_are_found_among_the_own_ones_only(made: Made, shop: TinyShop) -> None:
    events = shop.history.with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))
    rare = events.head(1).with_columns(pl.lit("rare").alias("item_id"))
    days = [rare.with_columns(pl.col(EFFECTIVE_TIME) + pl.duration(days=day)) for day in range(100, 150)]
    small = Interactions.of(pl.concat([events, *days]), CUT_MS, max_core_items=30)
    assert "rare" not in [small.items[item] for item in small.core]
    buyer = events["user_id"][0]
    others = pl.Series([user for user in sorted(shop.withheld) if user != buyer])
    found = made[0].fit(small).lists(pl.concat([others, pl.Series([buyer])]), 6)
    assert not any("rare" in items_of(found, user) for user in others)
