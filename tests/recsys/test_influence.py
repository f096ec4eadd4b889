"""Tests of how much one person's free acts count for everybody."""

from datetime import timedelta

import numpy as np
import pytest

from recsys.config import StateConfig
from recsys.influence import Influence, automaton, counted, counted_together, refused
from recsys.item_state import ItemState
from recsys.schema import EVENT_ID
from tests.recsys.small_catalogue import NOW, events_frame, greengrocer

HOUR_MS = 3_600_000
CONFIG = StateConfig(count_once=timedelta(minutes=30), most_acts_per_minute=5)
START = NOW - NOW % HOUR_MS


def test_of_one_persons_clicks_on_an_item_one_in_half_an_hour_counts() -> None:
    clicks = [("u", "leek", "click", START + i * 60_000) for i in range(45)]
    assert counted(events_frame(clicks), CONFIG).collect()[EVENT_ID].to_list() == ["000000000", "000000030"]


def test_other_people_items_and_acts_count_and_so_does_every_purchase_and_impression() -> None:
    events = [
        ("u", "leek", "click", START),
        ("v", "leek", "click", START),
        ("u", "apple", "click", START),
        ("u", "leek", "like", START),
        *(("u", "leek", "purchase", START + i) for i in range(9)),
        *(("u", "leek", "impression", START + i) for i in range(9)),
    ]
    assert refused(events_frame(events), CONFIG).is_empty()


def test_acts_beyond_what_a_person_can_do_in_a_minute_count_for_nobody() -> None:
    events = [("bot", f"item-{i}", "view", START + i) for i in range(20)]
    assert len(refused(events_frame(events), CONFIG)) == 15


def test_a_stream_is_counted_like_the_log_that_it_becomes() -> None:
    draw = np.random.default_rng(1)
    events = [
        (
            f"u{draw.integers(3)}",
            f"i{draw.integers(4)}",
            ("click", "view", "purchase")[draw.integers(3)],
            time,
        )
        for time in sorted((START + draw.integers(0, 6 * HOUR_MS, 600)).tolist())
    ]
    influence = Influence(CONFIG)
    gone = {
        f"{number:09d}"
        for number, (user, item, kind, time_ms) in enumerate(events)
        if not influence.counts(user, item, kind, time_ms)
    }
    assert gone == set(refused(events_frame(events), CONFIG))
    assert gone


def test_ten_thousand_clicks_of_one_person_are_worth_no_more_than_one() -> None:
    catalogue = greengrocer()
    storm = [("u", "leek", "click", START + i) for i in range(10_000)]
    one, many = (
        ItemState.from_events(catalogue, StateConfig(), events_frame(events), START + HOUR_MS)
        for events in (storm[:1], storm)
    )
    at = START + HOUR_MS
    assert np.array_equal(one.popularity(at).engagement, many.popularity(at).engagement)


def test_a_log_that_is_read_in_parts_refuses_the_same_and_one_without_ids_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = events_frame([(f"u{i % 7}", "leek", "click", START + i * 20_000) for i in range(200)])
    whole = refused(events, CONFIG)
    monkeypatch.setattr("recsys.influence._EVENTS_AT_ONCE", 30)
    assert set(refused(events, CONFIG)) == set(whole)
    assert not whole.is_empty()
    assert refused(events.drop(EVENT_ID), CONFIG).is_empty()


def test_whatever_a_machine_does_counts_for_nobody_offline_and_online() -> None:
    machine = automaton()
    events = [
        (who, "leek", kind, START) for who in (machine, "u") for kind in ("purchase", "impression", "view")
    ]
    assert counted(events_frame(events), CONFIG).collect()[EVENT_ID].to_list() == [
        f"{n:09d}" for n in (3, 4, 5)
    ]
    influence = Influence(CONFIG)
    assert [influence.counts(*event) for event in events] == [False] * 3 + [True] * 3
    assert automaton() != machine, "no two events of machines are one person's"


def test_of_one_persons_free_acts_with_an_item_the_latest_few_count_for_what_goes_together() -> None:
    patient = [("u", "leek", ("click", "view")[n % 2], START + n * HOUR_MS) for n in range(30)]
    others = [("v", "leek", "click", START), ("u", "apple", "click", START)]
    paid = [("u", "leek", "purchase", START + n) for n in range(9)]
    events = events_frame([*patient, *others, *paid])
    config = CONFIG.model_copy(update={"most_acts_together": 3})
    kept = set(counted_together(events, config).collect()[EVENT_ID])
    assert kept == {f"{n:09d}" for n in [27, 28, 29, *range(30, 41)]}
    assert counted(events, config).collect().height == 41, "popularity counts each half hour anew"


def test_a_log_of_purchases_alone_is_as_it_was() -> None:
    events = events_frame([("u", "leek", "purchase", START + n) for n in range(9)])
    assert counted_together(events, CONFIG).collect().equals(events.collect())
