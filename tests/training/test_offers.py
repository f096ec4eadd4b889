"""Tests of what is kept of the sources' offers."""

from tests.recsys.small_catalogue import (
    HOUR_MS,
    NOW,
    Event,
    events_frame,
    parts_without_encoder,
)
from tests.training.small_window import (
    CATALOGUE,
    END,
    HISTORY,
    bought,
    collect,
    configured,
    items_of,
    num_lost,
)
from training.decision_table import collect_decisions

UNTOUCHED = CATALOGUE.item_ids[-1]


def test_positives_that_no_source_found_are_lost_and_never_put_in() -> None:
    known = items_of("user-0")
    new = next(item_id for item_id in CATALOGUE.item_ids if item_id not in known)
    future = [bought("user-0", item_id) for item_id in (known[0], new, "gone")]
    found = collect(future, configured())
    assert num_lost(future, configured()) == 2
    assert (found.labels > 0).tolist() == [item_id == known[0] for item_id in known]


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


def test_thinning_keeps_every_positive_and_so_many_others() -> None:
    future = [bought(f"user-{i}", item_id) for i in range(4) for item_id in items_of(f"user-{i}")[:2]]
    sources = ("own", "text", "popular")
    everything = collect(future, configured(100, sources))
    thinned = collect(future, configured(1, sources))
    assert everything.labels.astype(bool).sum() == thinned.labels.astype(bool).sum() == 8
    assert num_lost(future, configured(100, sources)) == num_lost(future, configured(1, sources)) == 0
    assert thinned.groups.tolist() == [3] * 4
    assert everything.groups.min() > 3


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
