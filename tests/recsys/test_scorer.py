from pathlib import Path

import lignum
import numpy as np
import pytest

from recsys import scorer
from recsys.lightgbm_alone import lightgbm
from recsys.scorer import fastest_scorer, lightgbm_scorer, probes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, lightgbm.Booster]:
    """A forest on features with gaps."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2000, 6))
    rows[generator.random(rows.shape) < 0.1] = np.nan
    target = np.nan_to_num(rows[:, 0]) - np.nan_to_num(rows[:, 1]) ** 2
    booster = lightgbm.train(
        {"objective": "regression", "num_leaves": 15, "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(rows, target),
        20,
    )
    path = tmp_path_factory.mktemp("model") / "ranker.txt"
    booster.save_model(str(path))
    return path, lightgbm.Booster(model_file=str(path))


def test_the_fast_scorer_gives_lightgbms_scores_bit_by_bit(model: tuple[Path, lightgbm.Booster]) -> None:
    path, booster = model
    rows = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    rows[::7, 2] = np.nan
    fast, reference = fastest_scorer(path, booster), lightgbm_scorer(booster)
    assert fast.__qualname__.startswith("fastest_scorer")  # and not LightGBM's
    assert np.array_equal(fast(rows), reference(rows))


def test_probes_stand_on_the_thresholds_and_beside_them(model: tuple[Path, lightgbm.Booster]) -> None:
    path, booster = model
    rows = probes(path, booster.num_feature())
    dump = booster.dump_model()["tree_info"][0]["tree_structure"]
    feature, threshold = dump["split_feature"], np.float32(dump["threshold"])
    values = rows[:, feature]
    assert not np.isinf(rows).any()
    assert np.isnan(rows).any()
    assert (values < threshold).any()
    assert (values > threshold).any()
    assert np.array_equal(rows, probes(path, booster.num_feature()), equal_nan=True)


def test_where_the_two_differ_lightgbm_scores(
    model: tuple[Path, lightgbm.Booster], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, booster = model

    class OffByALittle:
        def predict(self, rows: np.ndarray, **_: object) -> np.ndarray:
            return lightgbm_scorer(booster)(rows) + 1e-12

    monkeypatch.setattr(lignum, "load", lambda _: OffByALittle())
    rows = np.zeros((3, 6), np.float32)
    assert np.array_equal(fastest_scorer(path, booster)(rows), lightgbm_scorer(booster)(rows))


def test_a_model_that_the_fast_scorer_cannot_read_is_left_to_lightgbm(
    model: tuple[Path, lightgbm.Booster], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, booster = model

    def refuse(_: str) -> object:
        raise RuntimeError("a linear tree")

    monkeypatch.setattr(lignum, "load", refuse)
    rows = np.zeros((3, 6), np.float32)
    assert np.array_equal(fastest_scorer(path, booster)(rows), lightgbm_scorer(booster)(rows))


def test_without_the_fast_scorer_lightgbm_scores(
    model: tuple[Path, lightgbm.Booster], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, booster = model
    monkeypatch.setattr(scorer, "lignum", None)
    rows = np.ones((3, 6), np.float32)
    assert np.array_equal(fastest_scorer(path, booster)(rows), lightgbm_scorer(booster)(rows))
