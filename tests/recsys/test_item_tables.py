from dataclasses import fields
from pathlib import Path

import numpy as np

from recsys.config import CandidateConfig
from recsys.index import VectorIndex, quantise
from recsys.item_tables import ItemTables, fit_item_tables
from tests.recsys.small_catalogue import NOW, events_frame, greengrocer, shopping, small_config

CATALOGUE = greengrocer()
CONFIG = small_config()
WORDS = VectorIndex(quantise(np.eye(len(CATALOGUE.texts))), CATALOGUE)


def fit(num_neighbours: int = 5, ease_neighbours: int = 100) -> ItemTables:
    sizes = CandidateConfig(neighbours=num_neighbours, ease_neighbours=ease_neighbours)
    config = CONFIG.model_copy(update={"candidates": sizes})
    return fit_item_tables(events_frame(shopping(CATALOGUE)), CATALOGUE, WORDS, config, NOW)


def test_every_table_is_fitted_until_the_same_moment() -> None:
    names = ("co_occurrence", "following", "ease", "als", "history", "resemblance")
    assert fit().fitted_until() == dict.fromkeys(names, NOW)


def test_tables_that_were_saved_and_loaded_are_the_same(tmp_path: Path) -> None:
    tables = fit()
    tables.save(tmp_path)
    until = {
        "co_occurrence": 1,
        "following": 2,
        "ease": 3,
        "als": 4,
        "history": 5,
        "resemblance": 6,
        "encoder": 7,
    }
    found = ItemTables.load(tmp_path, until)
    assert found.fitted_until() == {name: until[name] for name in tables.fitted_until()}
    for table in fields(tables):
        ours, theirs = getattr(found, table.name), getattr(tables, table.name)
        stored = [field.name for field in fields(theirs) if field.init and field.name != "fitted_until_ms"]
        assert stored
        for name in stored:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    weights = np.ones(len(CATALOGUE))
    everything = np.arange(len(CATALOGUE))
    for name in ("co_occurrence", "following", "ease"):
        scores = getattr(found, name).scores(everything, weights).dense()
        assert scores.any()
        np.testing.assert_array_equal(scores, getattr(tables, name).scores(everything, weights).dense())


def test_the_configuration_says_how_many_neighbours_are_kept() -> None:
    small = fit(num_neighbours=1, ease_neighbours=2)
    items = range(len(CATALOGUE))
    assert max(small.co_occurrence.num_sources(item) for item in items) == 1
    assert max(small.following.num_sources(item) for item in items) == 1
    assert max(small.ease.num_sources(item) for item in items) == 2
    assert max(fit().co_occurrence.num_sources(item) for item in items) > 1


def test_items_that_nobody_touched_yet_leave_no_trace_in_the_tables() -> None:
    tables, gone = fit(), np.arange(len(CATALOGUE)) % 3 == 0
    left = tables.without(gone, CATALOGUE)
    assert left.fitted_until() == tables.fitted_until()
    kept = [event for event in shopping(CATALOGUE) if not gone[CATALOGUE.position[event[1]]]]
    fresh = fit_item_tables(events_frame(kept), CATALOGUE, WORDS, CONFIG, NOW)
    for field in fields(left.history):
        if field.name not in ("newcomers", "rebuy_rate"):  # of others, these depend on everything
            np.testing.assert_array_equal(
                getattr(left.history, field.name), getattr(fresh.history, field.name), err_msg=field.name
            )
    np.testing.assert_array_equal(left.resemblance.unknown, fresh.resemblance.unknown)
    np.testing.assert_array_equal(left.als.items, fresh.als.items)
    penalty = CONFIG.candidates.als_regularisation * np.eye(left.als.vectors.shape[1])
    gram = left.als.vectors.T.astype(np.float64) @ left.als.vectors
    np.testing.assert_allclose(left.als.inner, gram + penalty, rtol=1e-4, atol=1e-4)
    everything, ones = np.arange(len(CATALOGUE)), np.ones(len(CATALOGUE))
    for name in ("co_occurrence", "following", "ease"):
        table, whole = getattr(left, name), getattr(tables, name)
        assert not table.scores(everything, ones).dense()[gone].any()
        assert not table.scores(np.flatnonzero(gone), np.ones(gone.sum())).dense().any()
        others = np.flatnonzero(~gone)
        np.testing.assert_array_equal(
            table.scores(others, ones[others]).dense()[~gone],
            whole.scores(others, ones[others]).dense()[~gone],
        )
    weights = left.resemblance.weights
    assert not weights[gone[left.resemblance.neighbours]].any()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
