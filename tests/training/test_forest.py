import numpy as np

from recsys.lightgbm_alone import lightgbm
from recsys.model_text import read_model_text
from training.forest import joined


def boosters() -> tuple[list[lightgbm.Booster], np.ndarray]:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(600, 4))
    matrix[::7, 2] = np.nan
    labels = (matrix[:, 0] + 0.3 * matrix[:, 1] > 0).astype(int)
    found = []
    for objective, rounds in (("lambdarank", 7), ("binary", 12)):
        data = lightgbm.Dataset(matrix, labels, group=[20] * 30, free_raw_data=False)
        found.append(lightgbm.train({"objective": objective, "verbosity": -1}, data, rounds))
    return found, matrix


def test_the_margin_is_the_sum() -> None:
    (first, second), matrix = boosters()
    both = joined([first, second])
    assert both.num_trees() == 19
    total = sum(np.asarray(one.predict(matrix, raw_score=True)) for one in (first, second))
    np.testing.assert_allclose(both.predict(matrix, raw_score=True), total, rtol=1e-9, atol=1e-12)


def test_contributions_still_add_up_to_the_score() -> None:
    given, matrix = boosters()
    both = joined(given)
    parts = np.asarray(both.predict(matrix, pred_contrib=True))
    np.testing.assert_allclose(parts.sum(1), both.predict(matrix, raw_score=True), rtol=1e-9, atol=1e-9)


def test_the_text_is_whole() -> None:
    given, _ = boosters()
    assert read_model_text(joined(given).model_to_string().encode()).num_trees == 19


def test_one_booster_stays_as_it_is() -> None:
    (first, _), matrix = boosters()
    np.testing.assert_array_equal(joined([first]).predict(matrix), first.predict(matrix))
