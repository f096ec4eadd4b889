from pathlib import Path

import numpy as np
import pytest

from recsys.lightgbm_alone import lightgbm
from recsys.scorer import probes
from recsys.tree_paths import TreePaths

# Feature 0 <= 1 goes to a leaf of 2 (3 rows); else feature 1 <= 5, or missing, to 4 (1 row) or to 10 (2).
TEXT = """tree
Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=1 5
decision_type=2 10
left_child=-1 -2
right_child=1 -3
leaf_value=2 4 10
leaf_count=3 1 2
is_linear=0
shrinkage=1


end of trees
"""


def test_a_split_adds_the_mean_of_where_the_row_goes_less_the_mean_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "ranker.txt"
    path.write_text(TEXT, encoding="utf-8")
    paths = TreePaths.read(path, 3)
    rows = np.asarray([[0, 9, 0], [2, 9, 0], [2, np.nan, 0]], np.float32)
    # root (3 * 2 + 4 + 2 * 10) / 6 = 5, its right child (4 + 2 * 10) / 3 = 8
    assert paths.contributions(rows).tolist() == [[-3, 0, 0, 5], [3, 2, 0, 5], [3, -4, 0, 5]]


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}])
def test_paths_add_up_to_lightgbms_scores(tmp_path: Path, options: dict[str, object]) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2000, 5)).round(1)
    rows[generator.random(rows.shape) < 0.1] = 0 if options else np.nan
    target = np.nan_to_num(rows[:, 0]) * 2 + np.nan_to_num(rows[:, 1]) ** 2
    settings = {"objective": "regression", "num_leaves": 15, "verbosity": -1, "num_threads": 1} | options
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, target), 30)
    path = tmp_path / "ranker.txt"
    booster.save_model(str(path))
    asked = np.vstack((probes(path, 5), rows[:200].astype(np.float32)))
    found = TreePaths.read(path, 5).contributions(asked)
    np.testing.assert_allclose(found.sum(1), booster.predict(asked, raw_score=True), atol=1e-9)
    base = np.asarray(booster.predict(asked[:1], pred_contrib=True))[0, -1]
    np.testing.assert_allclose(found[:, -1], base, atol=1e-6)


def test_a_forest_of_one_leaf_adds_nothing(tmp_path: Path) -> None:
    rows = np.zeros((50, 2))
    booster = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(rows, np.ones(50)), 2)
    path = tmp_path / "ranker.txt"
    booster.save_model(str(path))
    found = TreePaths.read(path, 2).contributions(rows[:2].astype(np.float32))
    np.testing.assert_allclose(found.sum(1), booster.predict(rows[:2], raw_score=True))
    assert not found[:, :2].any()


def test_categorical_splits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranker.txt"
    path.write_text(TEXT.replace("decision_type=2 10", "decision_type=1 10"), encoding="utf-8")
    with pytest.raises(ValueError, match="categorical"):
        TreePaths.read(path, 3)
