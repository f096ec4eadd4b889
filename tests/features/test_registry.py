from dataclasses import replace

import numpy as np
import pytest

from features import item, price
from features.registry import (
    OnlineFeatures,
    as_ranker_input,
    definitions,
    family_names,
    fingerprint,
    names,
)
from recsys.config import StateConfig
from recsys.errors import ConfigError, LeakageError
from recsys.schema import DAY_MS
from tests.features.small_log import (
    APPLE,
    CONFIG,
    FEATURE_NAMES,
    ITEM_IDS,
    hand_made_parts,
    offline_rows,
    online_moment,
    online_rows,
)
from tests.recsys.small_catalogue import NOW, Event

EVENTS: list[Event] = [("ann", APPLE, "purchase", NOW - DAY_MS), ("bob", APPLE, "view", NOW - DAY_MS)]


def test_every_feature_has_a_name_of_its_own_a_meaning_and_words_for_shoppers() -> None:
    features = definitions(CONFIG.state)
    assert len({feature.name for feature in features}) == len(features) == len(FEATURE_NAMES)
    assert all(feature.meaning and feature.words.format(value=2.0) for feature in features)


def test_the_online_source_names_its_columns_and_computes_in_float32() -> None:
    source = OnlineFeatures(CONFIG.state)
    matrix = source.matrix(online_moment(EVENTS, ("ann", NOW), hand_made_parts()), np.arange(len(ITEM_IDS)))
    assert source.names == names(CONFIG.state)
    assert source.fingerprint == fingerprint(CONFIG.state)
    assert source.words.keys() == set(source.names)
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(ITEM_IDS), len(source.names))
    assert matrix[0, source.names.index("user_item_1d")] == 0.5


@pytest.mark.parametrize(
    "changed",
    [
        {"half_lives_days": (1.0, 2.0, 5.0)},
        {"max_age_days": 31.0},
        {"event_weights": {"purchase": 2.0}},
        {"tick": "PT5M"},
    ],
)
def test_the_fingerprint_changes_with_every_rule_of_the_state(changed: dict[str, object]) -> None:
    other = StateConfig.model_validate(CONFIG.state.model_dump() | changed)
    assert fingerprint(other) != fingerprint(CONFIG.state)
    assert fingerprint(CONFIG.state) == fingerprint(CONFIG.state.model_copy())


def test_a_family_that_is_left_out_is_missing_on_both_paths_and_changes_the_fingerprint() -> None:
    state = CONFIG.state.model_copy(update={"leave_out_families": ("price", "item")})
    left_out = {feature.name for family in (price, item) for feature in family.features(state)}
    kept = [number for number, name in enumerate(FEATURE_NAMES) if name not in left_out]
    assert names(state) == tuple(FEATURE_NAMES[number] for number in kept)
    assert fingerprint(state) != fingerprint(CONFIG.state)
    parts = replace(hand_made_parts(), config=CONFIG.model_copy(update={"state": state}))
    queries = [("ann", NOW), ("bob", NOW)]
    expected = offline_rows(EVENTS, queries, hand_made_parts())[:, kept]
    np.testing.assert_array_equal(offline_rows(EVENTS, queries, parts), expected)
    np.testing.assert_allclose(online_rows(EVENTS, queries, parts), expected, rtol=1e-9, atol=1e-12)


def test_only_families_that_exist_can_be_left_out_and_never_all_of_them() -> None:
    with pytest.raises(ConfigError, match="text_interest"):
        names(StateConfig(leave_out_families=("words",)))
    with pytest.raises(ConfigError, match="not all"):
        names(StateConfig(leave_out_families=family_names()))


def test_infinities_are_clipped_and_missing_values_stay_missing() -> None:
    limit = np.finfo(np.float32).max
    found = as_ranker_input(np.array([[np.inf, -np.inf, np.nan, 1.5, 1e300]]))
    np.testing.assert_array_equal(found, np.array([[limit, -limit, np.nan, 1.5, limit]], np.float32))


def test_a_part_that_knows_the_future_of_one_query_is_refused() -> None:
    parts = hand_made_parts(fitted_until_ms=NOW)
    assert offline_rows(EVENTS, [("ann", NOW)], parts).shape == (len(ITEM_IDS), len(FEATURE_NAMES))
    with pytest.raises(LeakageError):
        offline_rows(EVENTS, [("ann", NOW), ("bob", NOW - 1)], parts)
