from pathlib import Path

import numpy as np
import pytest

from recsys.errors import BundleError
from recsys.lightgbm_alone import lightgbm
from recsys.ranker_trial import try_ranker
from tests.recsys.small_catalogue import small_ranker

NAMES = ("count", "price", "recency")
ROWS = np.asarray([[0.5, np.nan, 2.0], [1.0, 1.0, 1.0]], np.float32)


def test_a_trial_scores_as_this_process_does(tmp_path: Path) -> None:
    ranker = small_ranker(NAMES)
    ranker.save(tmp_path / "model.txt")
    result = try_ranker(tmp_path / "model.txt", ROWS)
    assert result.scores == ranker.scores(ROWS).tolist()
    assert result.gain == pytest.approx(ranker.gain())


def test_a_model_that_ends_its_process_ends_no_other(tmp_path: Path) -> None:
    small_ranker(NAMES).save(tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text()
    (tmp_path / "model.txt").write_text(text[: text.index("Tree=3") + 200])
    with pytest.raises(BundleError, match=r"model\.txt"):
        try_ranker(tmp_path / "model.txt", ROWS)


def test_a_model_of_another_width_is_an_error_with_its_reason(tmp_path: Path) -> None:
    small_ranker(NAMES[:2]).save(tmp_path / "model.txt")
    with pytest.raises(BundleError, match="number of features"):
        try_ranker(tmp_path / "model.txt", ROWS)


def test_a_trial_does_not_wait_for_ever(tmp_path: Path) -> None:
    small_ranker(NAMES).save(tmp_path / "model.txt")
    with pytest.raises(BundleError, match=r"more than 0\.01 s"):
        try_ranker(tmp_path / "model.txt", ROWS, seconds=0.01)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(200, 3))
    booster = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(matrix, matrix[:, 0]), 1)
    booster.set_leaf_output(0, 0, np.inf)
    booster.save_model(tmp_path / "model.txt")
    with pytest.raises(BundleError, match="no finite scores"):
        try_ranker(tmp_path / "model.txt", matrix.astype(np.float32))
