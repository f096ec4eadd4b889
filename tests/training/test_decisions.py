import numpy as np
import pytest

from features.registry import names
from recsys.config import Config, PlacementConfig, RankerConfig
from recsys.errors import LeakageError
from recsys.moment import Parts
from recsys.schema import DAY_MS, ITEM_ID, USER_ID
from tests.recsys.small_catalogue import (
    HOUR_MS,
    NOW,
    Event,
    events_frame,
    greengrocer,
    parts_without_encoder,
    shopping,
    small_config,
)
from training.decisions import LABEL, Decisions, collect_decisions, decision_table, gains, label_table

CATALOGUE = greengrocer()
HISTORY = shopping(CATALOGUE, num_users=4)
END = NOW + 7 * DAY_MS
UNTOUCHED = CATALOGUE.item_ids[-1]


def configured(num_negatives: int = 100, sources: tuple[str, ...] = ("own",)) -> Config:
    """Settings in which only the named sources offer anything."""
    return small_config().model_copy(
        update={
            "ranker": RankerConfig(num_negatives=num_negatives),
            "placements": {"home": PlacementConfig(sources=sources)},
        }
    )


def parts_for(config: Config) -> Parts:
    return parts_without_encoder(HISTORY, config)


def items_of(user_id: str) -> list[str]:
    return sorted({item_id for who, item_id, _, _ in HISTORY if who == user_id})


def collect(future: list[Event], config: Config, orders: str = "all") -> Decisions:
    return collect_decisions(events_frame([*HISTORY, *future]), parts_for(config), NOW, END)[orders]


def num_lost(future: list[Event], config: Config) -> int:
    return decision_table(events_frame([*HISTORY, *future]), parts_for(config), NOW, END).lost


def bought(user_id: str, item_id: str, name: str = "purchase") -> Event:
    return user_id, item_id, name, NOW + HOUR_MS


def test_grades_are_the_positive_weights_in_order() -> None:
    # 0, view 0.1, click and comment 0.3, add_to_cart, like and share 0.5, purchase 1
    assert gains(Config()) == [0.0, 0.1, 0.3, 0.5, 1.0]


def test_a_label_is_the_best_grade_of_the_window() -> None:
    events: list[Event] = [
        ("ann", "leek", "view", NOW),
        ("ann", "leek", "purchase", NOW + 1),
        ("ann", "beet", "like", NOW + 2),
        ("ann", "kale", "purchase", NOW - 1),
        ("ann", "kale", "purchase", END),
        ("ann", "radish", "dislike", NOW + 3),
        ("ann", "radish", "impression", NOW + 3),
        ("bob", "beet", "comment", END - 1),
    ]
    table = label_table(events_frame(events), Config(), NOW, END).sort(USER_ID, ITEM_ID)
    assert table.select(USER_ID, ITEM_ID, LABEL).rows() == [
        ("ann", "beet", 3),
        ("ann", "leek", 4),
        ("bob", "beet", 2),
    ]


def test_candidates_that_the_user_chose_are_labelled_by_grade() -> None:
    first, second = items_of("user-0")[:2]
    found = collect([bought("user-0", first), bought("user-0", second, "view")], configured())
    labels = dict(zip(items_of("user-0"), found.labels.tolist(), strict=True))
    assert found.groups.tolist() == [len(items_of("user-0"))]
    assert labels.pop(first) == 4
    assert labels.pop(second) == 1
    assert set(labels.values()) == {0}
    assert found.matrix.shape == (len(found.labels), len(names(configured().state)))
    assert found.matrix.dtype == np.float32


def test_positives_that_no_source_found_are_lost_and_never_put_in() -> None:
    known = items_of("user-0")
    new = next(item_id for item_id in CATALOGUE.item_ids if item_id not in known)
    future = [bought("user-0", item_id) for item_id in (known[0], new, "gone")]
    found = collect(future, configured())
    assert num_lost(future, configured()) == 2
    assert (found.labels > 0).tolist() == [item_id == known[0] for item_id in known]


def test_a_query_of_which_no_source_found_anything_teaches_nothing() -> None:
    future = [bought("user-0", "gone"), bought("user-1", items_of("user-1")[0])]
    found = collect(future, configured())
    assert found.users == ["user-1"]
    assert found.groups.tolist() == [len(items_of("user-1"))]
    assert num_lost(future, configured()) == 1


def test_queries_are_users_who_did_something() -> None:
    liked, disliked = items_of("user-2")[0], items_of("user-1")[0]
    found = collect([bought("user-2", liked), bought("user-1", disliked, "dislike")], configured())
    assert found.users == ["user-2"]
    assert found.groups.tolist() == [len(items_of("user-2"))]


def test_somebody_without_history_is_a_decision_too() -> None:
    sold = {item_id for _, item_id, _, _ in HISTORY}
    future = [bought("stranger", min(sold))]
    for orders in ("all", "new"):
        found = collect(future, configured(100, ("own", "popular")), orders)
        assert found.users == ["stranger"]
        assert found.groups.tolist() == [len(sold)]
        assert found.labels.tolist() == [4] + [0] * (len(sold) - 1)


def test_an_item_that_nobody_ever_touched_teaches_nothing() -> None:
    config = configured(100, ("own", "text"))
    history = [event for event in HISTORY if event[1] != UNTOUCHED]

    def offered(future: list[Event]) -> set[str]:
        parts = parts_without_encoder(history, config)
        found = collect_decisions(events_frame([*history, *future]), parts, NOW, END)["all"]
        return {CATALOGUE.item_ids[position] for position in found.positions.tolist()}

    again = bought("user-0", next(item_id for who, item_id, *_ in history if who == "user-0"))
    assert UNTOUCHED not in offered([again])
    later = ("user-1", UNTOUCHED, "purchase", END + HOUR_MS)
    assert offered([again, later]) == offered([again]) | {UNTOUCHED}


@pytest.mark.parametrize("orders", ["all", "new"])
@pytest.mark.parametrize("future", [[], [bought("stranger", "gone")]])
def test_without_queries_there_are_no_decisions(future: list[Event], orders: str) -> None:
    found = collect(future, configured(), orders)
    assert (len(found.matrix), len(found.labels), len(found.groups)) == (0, 0, 0)
    assert num_lost(future, configured()) == len(future)
    assert found.matrix.shape[1] == len(names(configured().state))


def test_thinning_keeps_every_positive_and_so_many_others() -> None:
    future = [bought(f"user-{i}", item_id) for i in range(4) for item_id in items_of(f"user-{i}")[:2]]
    sources = ("own", "text", "popular")
    everything = collect(future, configured(100, sources))
    thinned = collect(future, configured(1, sources))
    assert everything.labels.astype(bool).sum() == thinned.labels.astype(bool).sum() == 8
    assert num_lost(future, configured(100, sources)) == num_lost(future, configured(1, sources)) == 0
    assert thinned.groups.tolist() == [3] * 4
    assert everything.groups.min() > 3


def test_decisions_among_new_items_are_of_users_who_took_something_new() -> None:
    own = items_of("user-0")
    popular = {item_id for _, item_id, _, _ in HISTORY}
    new = sorted(popular - set(own))
    future = [
        bought("user-0", own[0]),
        bought("user-0", new[0], "view"),
        bought("user-1", items_of("user-1")[0]),
    ]
    config = configured(100, ("own", "popular"))
    every, among_new = (collect(future, config, orders) for orders in ("all", "new"))
    assert (every.users, among_new.users) == (["user-0", "user-1"], ["user-0"])
    assert every.groups.tolist() == [len(popular)] * 2
    assert among_new.groups.tolist() == [len(new)]
    assert among_new.labels.tolist() == [1] + [0] * (len(new) - 1)
    assert among_new.positions.tolist() == CATALOGUE.positions(new).tolist()
    assert every.labels[: len(popular)].tolist().count(4) == 1
    first = {row.tobytes() for row in every.matrix[: len(popular)]}
    assert {row.tobytes() for row in among_new.matrix} <= first  # their place is that among all candidates
    assert num_lost(future, config) == 0


def test_thinning_does_not_change_the_rows_it_keeps() -> None:
    future = [bought(f"user-{i}", item_id) for i in range(4) for item_id in items_of(f"user-{i}")[:1]]
    sources = ("own", "text", "popular")
    everything, thinned = (collect(future, configured(num, sources)) for num in (100, 2))
    whole = {row.tobytes() for row in everything.matrix}
    assert {row.tobytes() for row in thinned.matrix} <= whole


def test_the_draw_is_the_same_again() -> None:
    future = [bought(f"user-{i}", "leek") for i in range(4)]
    config = configured(2, ("own", "popular"))
    first, second = collect(future, config), collect(future, config)
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert first.labels.tolist() == second.labels.tolist()


def test_what_happens_in_the_window_changes_no_feature() -> None:
    item_id = items_of("user-0")[0]
    few = collect([bought("user-0", item_id)], configured())
    many = collect(
        [bought("user-0", item_id), *(("user-0", other, "view", NOW) for other in CATALOGUE.item_ids)],
        configured(),
    )
    np.testing.assert_array_equal(few.matrix, many.matrix)


def test_parts_that_saw_the_window_are_refused() -> None:
    with pytest.raises(LeakageError, match="fit it earlier"):
        collect_decisions(
            events_frame([*HISTORY, bought("user-0", "leek")]), parts_for(configured()), NOW - 1, END
        )


def test_decisions_of_windows_are_joined_group_by_group() -> None:
    first = collect([bought("user-0", "leek"), bought("user-0", "gone")], configured())
    second = collect([bought("user-1", "beet"), bought("user-2", "beet")], configured())
    both = first + second
    assert both.groups.tolist() == [*first.groups.tolist(), *second.groups.tolist()]
    assert both.labels.tolist() == [*first.labels.tolist(), *second.labels.tolist()]
    assert len(both.matrix) == both.groups.sum()
