"""A reward model that never judges the rows it learned from: boosted trees, cross-fitted over users.

The users are dealt into folds; the rows of each fold are valued by trees that were fitted on the other folds.
A model that had seen its own rows would take their noise for reward, and the doubly robust estimate with it.

Source: cross-fitting as in Chernozhukov et al. (2018), *Double/debiased machine learning*, definition 3.1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recsys.lightgbm_alone import lightgbm

FOLDS = 5
_ROUNDS = 60
_ROWS_PER_LEAF = 50
_PARAMETERS = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": _ROWS_PER_LEAF,
    "min_data_per_group": _ROWS_PER_LEAF,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 0,
    "verbosity": -1,
}


@dataclass(frozen=True, eq=False)
class Options:
    """What the target policy could serve instead, for all rows together."""

    row: Int64[np.ndarray, " options"]
    """Which row each option belongs to."""
    features: Float64[np.ndarray, "options features"]
    propensity: Float64[np.ndarray, " options"]
    """The target policy's; those of a row sum to 1, or to less where only some are known."""


def cross_fitted(
    features: Float64[np.ndarray, "rows features"],
    reward: Float64[np.ndarray, " rows"],
    options: Options,
    cluster: Int64[np.ndarray, " rows"],
    *,
    categorical: tuple[int, ...] = (),
    seed: int = 0,
) -> tuple[Float64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Value what was served and what the target policy would serve.

    Args:
        features: Of what was served, each row with its context.
        reward: What it earned.
        options: What the target policy could serve.
        cluster: Whose row each is, from 0 without gaps; a user's rows are in one fold.
        categorical: Columns of ``features`` that are codes from 0.
        seed: Of the folds.

    Returns:
        ``q_logged`` and ``q_target = sum over options of propensity times value``.
    """
    q_logged, q_target = np.zeros(len(reward)), np.zeros(len(reward))
    fold_of_row = folds(cluster, seed)
    for fold in range(FOLDS):
        inside = fold_of_row == fold
        if not inside.any():
            continue
        model = _fit(features[~inside], reward[~inside], categorical)
        q_logged[inside] = _predict(model, features[inside])
        asked = inside[options.row]
        valued = options.propensity[asked] * _predict(model, options.features[asked])
        q_target += np.bincount(options.row[asked], weights=valued, minlength=len(reward))
    return q_logged, q_target


def folds(cluster: Int64[np.ndarray, " rows"], seed: int) -> Int64[np.ndarray, " rows"]:
    """Which fold each row is in: users dealt out evenly at random."""
    dealt = np.arange(int(cluster.max()) + 1) % FOLDS
    np.random.default_rng(seed).shuffle(dealt)
    fold: Int64[np.ndarray, " rows"] = dealt[cluster]
    return fold


def _fit(
    features: Float64[np.ndarray, "rows features"],
    reward: Float64[np.ndarray, " rows"],
    categorical: tuple[int, ...],
) -> lightgbm.Booster | float:
    """Trees, or the mean reward where there is nothing to learn from."""
    if len(reward) < 2 * _ROWS_PER_LEAF:
        return float(reward.mean()) if len(reward) else 0.0
    data = lightgbm.Dataset(features, reward, categorical_feature=list(categorical), free_raw_data=True)
    return lightgbm.train(_PARAMETERS, data, num_boost_round=_ROUNDS)


def _predict(
    model: lightgbm.Booster | float, features: Float64[np.ndarray, "rows features"]
) -> Float64[np.ndarray, " rows"]:
    if isinstance(model, float):
        return np.full(len(features), model)
    if not len(features):
        return np.zeros(0)
    values: Float64[np.ndarray, " rows"] = np.asarray(model.predict(features, num_threads=1), np.float64)
    return values
