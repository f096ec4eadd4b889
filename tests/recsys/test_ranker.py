from pathlib import Path

import numpy as np
import pytest

from recsys.errors import BundleError, FeatureMismatchError
from recsys.ranker import Ranker
from tests.recsys.small_catalogue import small_ranker

NAMES = ("count", "price", "recency")


def rows(num: int = 20) -> np.ndarray:
    matrix = np.random.default_rng(9).exponential(size=(num, len(NAMES))).astype(np.float32)
    matrix[0, 1] = np.nan
    return matrix


def test_larger_margins_mean_better_items() -> None:
    # the ranker learned that the sum of the features is good
    scores = small_ranker(NAMES, num_trees=20).scores(
        np.asarray([[0, 0, 0], [1, 1, 1], [3, 3, 3]], np.float32)
    )
    assert scores[0] < scores[1] < scores[2]


def test_a_saved_ranker_scores_the_same(tmp_path: Path) -> None:
    ranker = small_ranker(NAMES)
    ranker.save(tmp_path / "ranker.txt")
    again = Ranker.load(tmp_path / "ranker.txt", NAMES)
    assert again.feature_names == NAMES
    assert np.array_equal(again.scores(rows()), ranker.scores(rows()))


def test_a_row_scores_the_same_alone_and_in_a_batch() -> None:
    ranker = small_ranker(NAMES)
    alone = [ranker.scores(rows()[i : i + 1])[0] for i in range(20)]
    assert ranker.scores(rows()).tolist() == alone


def test_contributions_and_the_base_value_add_up_to_the_score() -> None:
    ranker = small_ranker(NAMES)
    contributions = ranker.contributions(rows())
    assert contributions.shape == (20, 4)
    np.testing.assert_allclose(contributions.sum(1), ranker.scores(rows()), atol=1e-9)
    assert len(np.unique(contributions[:, -1])) == 1


@pytest.mark.parametrize("names", [("price", "count", "recency"), ("count", "price"), (*NAMES, "age")])
def test_other_features_or_another_order_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    small_ranker(NAMES).save(tmp_path / "ranker.txt")
    with pytest.raises(FeatureMismatchError, match="train again"):
        Ranker.load(tmp_path / "ranker.txt", names)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ranker.txt"
    path.write_text("no trees here\n")
    with pytest.raises(BundleError, match=r"ranker\.txt is not a LightGBM model"):
        Ranker.load(path, NAMES)
    with pytest.raises(BundleError):
        Ranker.load(tmp_path / "absent.txt", NAMES)
    capfd.readouterr()  # LightGBM says it on its own too


def test_gain_and_thresholds_are_told_by_feature() -> None:
    ranker = small_ranker(NAMES)
    assert tuple(ranker.gain()) == NAMES
    assert all(gain >= 0 for gain in ranker.gain().values())
    thresholds = ranker.thresholds()
    assert len(thresholds) == len(NAMES)
    for name, values in zip(NAMES, thresholds, strict=True):
        assert (len(values) > 0) == (ranker.gain()[name] > 0)
        assert np.all(np.diff(values) > 0)


def test_moving_a_feature_between_two_thresholds_does_not_move_the_score() -> None:
    ranker = small_ranker(NAMES)
    low, high = ranker.thresholds()[0][:2]
    row = np.asarray([[1.0, 1.0, 1.0]], np.float32)
    scores = []
    for share in (0.25, 0.75):
        row[0, 0] = low + share * (high - low)
        scores.append(ranker.scores(row)[0])
    assert scores[0] == scores[1]
