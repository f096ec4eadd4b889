import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config import Config, EncoderConfig, StateConfig
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from recsys.user_items import user_items
from tests.recsys.small_catalogue import NOW, Event, events_frame, greengrocer, state_of
from training.history import HistoryLog
from training.next_items import NextItems, collate

CATALOGUE = greengrocer()
CONFIG = Config(state=StateConfig(max_age_days=10_000.0), encoder=EncoderConfig(history_length=3))
PURCHASE, VIEW = EVENT_TYPE_CODES["purchase"], EVENT_TYPE_CODES["view"]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["apple-1", "apple-2", "leek", "beet", "not in the catalogue"]),
        st.sampled_from(["purchase", "view", "dislike", "impression"]),
        st.integers(0, 8).map(lambda hours: NOW - hours * 3_600_000),
    ),
    max_size=25,
)


def examples(
    events: list[Event], *, from_ms: int = 0, history_length: int = 3, max_positives: int = 9
) -> NextItems:
    log = HistoryLog(events_frame(events).collect(), CATALOGUE, CONFIG.state, history_length)
    return NextItems(log, from_ms=from_ms, max_positives=max_positives, seed=1)


def texts_of(*item_ids: str) -> list[int]:
    found: list[int] = CATALOGUE.text_of_item[CATALOGUE.positions(item_ids)].tolist()
    return found


def at(age: float, item_id: str, name: str = "purchase", user_id: str = "ann") -> Event:
    return user_id, item_id, name, NOW - round(age * DAY_MS)


def test_what_came_before_predicts_what_comes_next() -> None:
    found = examples([at(3, "leek"), at(2, "beet"), at(2, "kale"), at(1, "leek")])
    assert len(found) == 2
    second, third = found[0], found[1]
    assert second.history.texts.tolist() == texts_of("leek")
    assert sorted(second.positives.tolist()) == sorted(texts_of("beet", "kale"))
    assert third.history.texts.tolist() == texts_of("beet", "kale", "leek")
    assert third.history.age_days.tolist() == [0.0, 0.0, 1.0]
    assert third.positives.tolist() == texts_of("leek")


def test_a_users_first_moment_has_nothing_before_it() -> None:
    assert len(examples([at(2, "leek"), at(2, "beet")])) == 0
    assert len(examples([at(2, "leek"), at(1, "beet", user_id="bob")])) == 0
    assert len(examples([])) == 0


def test_moments_before_the_start_are_history_only() -> None:
    events = [at(3, "leek"), at(2, "beet"), at(1, "kale")]
    found = examples(events, from_ms=NOW - DAY_MS)
    assert len(found) == 1
    assert found[0].history.texts.tolist() == texts_of("beet", "leek")


def test_a_repeated_pair_is_counted_and_as_old_as_its_latest_event() -> None:
    found = examples([at(5, "leek"), at(4, "leek", "view"), at(3, "leek"), at(1, "beet"), at(0.5, "kale")])
    last = found[len(found) - 1]
    assert last.history.texts.tolist() == texts_of("beet", "leek")
    assert last.history.event_types.tolist() == [PURCHASE, PURCHASE]
    assert last.history.counts.tolist() == [1.0, 2.0]
    assert last.history.age_days.tolist() == [0.0, 2.0]


def test_a_history_keeps_the_newest_items() -> None:
    events = [at(9 - i, item_id) for i, item_id in enumerate(["leek", "beet", "kale", "banana", "cherry"])]
    assert examples(events)[3].history.texts.tolist() == texts_of("banana", "kale", "beet")


def test_events_of_other_items_and_types_do_not_count() -> None:
    assert len(examples([at(3, "gone"), at(2, "leek", "dislike"), at(1, "beet"), at(1, "kale")])) == 0


def test_items_with_equal_texts_are_one_positive() -> None:
    found = examples([at(2, "leek"), at(1, "apple-1"), at(1, "apple-2")])
    assert found[0].positives.tolist() == texts_of("apple-1")


def test_no_more_positives_than_asked_for_the_same_at_every_reading() -> None:
    wanted = ["beet", "kale", "banana", "cherry", "carrot"]
    events = [at(2, "leek"), *(at(1, item_id) for item_id in wanted)]
    drawn = examples(events, max_positives=2)[0].positives
    assert len(set(drawn.tolist())) == 2
    assert set(drawn.tolist()) <= set(texts_of(*wanted))
    assert examples(events, max_positives=2)[0].positives.tolist() == drawn.tolist()


def test_every_positive_event_is_counted_for_its_text() -> None:
    counts = examples([at(3, "leek"), at(2, "apple-1"), at(1, "apple-2"), at(1, "leek")]).text_counts(
        len(CATALOGUE.texts)
    )
    assert counts.sum() == 3
    assert counts[texts_of("apple-1", "leek")].tolist() == [2, 1]


@settings(deadline=None)
@given(events=EVENTS)
def test_a_history_is_what_the_online_state_would_hold(events: list[Event]) -> None:
    found = examples(events)
    positive = [
        event for event in events if event[1] in CATALOGUE.position and event[2] in {"purchase", "view"}
    ]
    moments = sorted({(event[0], event[3]) for event in positive})
    index = 0
    for user_id, time_ms in moments:
        before = [event for event in positive if event[0] == user_id and event[3] < time_ms]
        if not before:
            continue
        recent = user_items(state_of(before, CONFIG), CATALOGUE, CONFIG, time_ms).recent
        example = found[index]
        index += 1
        assert example.history.texts.tolist() == CATALOGUE.text_of_item[recent.positions].tolist()
        assert example.history.event_types.tolist() == recent.event_types.tolist()
        assert example.history.counts.tolist() == recent.counts.tolist()
        ages = (recent.last_ms.max() - recent.last_ms) / DAY_MS
        assert example.history.age_days.tolist() == pytest.approx(ages.tolist())
        now = {
            CATALOGUE.text_of_item[CATALOGUE.position[e[1]]]
            for e in positive
            if (e[0], e[3]) == (user_id, time_ms)
        }
        assert set(example.positives.tolist()) == now
    assert index == len(found)


@settings(deadline=None, max_examples=30)
@given(events=EVENTS, later=EVENTS)
def test_later_events_do_not_change_earlier_examples(events: list[Event], later: list[Event]) -> None:
    future = [(user, item, name, time_ms + DAY_MS) for user, item, name, time_ms in later]
    before, after = examples(events), examples(events + future)
    histories = [after[i].history.texts.tolist() for i in range(len(after))]
    for i in range(len(before)):
        assert before[i].history.texts.tolist() in histories
        histories.remove(before[i].history.texts.tolist())


def test_a_batch_pads_histories_and_names_the_user_of_each_pair() -> None:
    events = [at(5, "leek"), at(4, "beet"), at(3, "kale"), at(3, "carrot")]
    found = examples(events)
    batch = collate([found[0], found[1]])
    assert batch.history.texts.tolist() == [[*texts_of("leek"), 0], texts_of("beet", "leek")]
    assert batch.history.mask.tolist() == [[True, False], [True, True]]
    assert batch.history.age_days.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert batch.history.counts.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert batch.history.event_types.tolist() == [[PURCHASE, 0], [PURCHASE, PURCHASE]]
    assert batch.pair_user.tolist() == [0, 1, 1]
    assert np.array_equal(batch.pair_text.numpy(), np.concatenate([found[0].positives, found[1].positives]))
