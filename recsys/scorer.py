"""A faster engine for the same forest, taken only where it gives the same scores.

``pylignum`` walks the trees of a LightGBM model four to six times as fast as LightGBM itself. It is used when
it is installed, can read the model, and scores rows chosen to tell the two apart exactly as LightGBM does;
otherwise LightGBM scores. Its inputs must be finite or NaN: at infinities the two differ, and
``features.registry.as_ranker_input`` clips them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from jaxtyping import Float32, Float64

from recsys.lightgbm_alone import lightgbm

try:
    import lignum
except ImportError:  # an installation without the extra `serving`
    lignum = None

_log = structlog.get_logger(__name__)

Scorer = Callable[[Float32[np.ndarray, "rows features"]], Float64[np.ndarray, " rows"]]
"""Raw margins of rows."""

_NUM_PROBES = 256


def lightgbm_scorer(booster: lightgbm.Booster) -> Scorer:
    """LightGBM itself, on one thread."""

    def scores(matrix: Float32[np.ndarray, "rows features"]) -> Float64[np.ndarray, " rows"]:
        margins: Float64[np.ndarray, " rows"] = np.asarray(
            booster.predict(matrix, raw_score=True, num_threads=1)
        )
        return margins

    return scores


def fastest_scorer(path: Path, booster: lightgbm.Booster) -> Scorer:
    """The fastest engine that agrees with LightGBM bit by bit on ``probes`` of the model.

    Args:
        path: The model in LightGBM's text format.
        booster: The same model, loaded.
    """
    reference = lightgbm_scorer(booster)
    if lignum is None:
        return reference
    try:
        model = lignum.load(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        _log.warning("the fast scorer cannot read this model; LightGBM scores", reason=str(error))
        return reference

    def scores(matrix: Float32[np.ndarray, "rows features"]) -> Float64[np.ndarray, " rows"]:
        margins: Float64[np.ndarray, " rows"] = model.predict(matrix, raw_score=True, n_jobs=1)
        return margins

    rows = probes(path, booster.num_feature())
    different = int((scores(rows) != reference(rows)).sum())
    if different:
        _log.warning("the fast scorer differs from LightGBM, which scores instead", rows=different)
        return reference
    return scores


def probes(path: Path, num_features: int) -> Float32[np.ndarray, "rows features"]:
    """Rows at which two engines would differ if they did: the model's own thresholds and their neighbours.

    Every value is a threshold of its feature, the next float above or below, 0, missing, or the greatest
    number of either sign; drawn with a fixed seed.

    Args:
        path: A model in LightGBM's text format.
        num_features: Features of the model.
    """
    generator = np.random.default_rng(0)
    limit = np.finfo(np.float32).max
    special = np.asarray([0.0, np.nan, limit, -limit], np.float32)
    rows = np.empty((_NUM_PROBES, num_features), np.float32)
    for feature, thresholds in enumerate(_thresholds(path, num_features)):
        near = [np.nextafter(thresholds, np.float32(way * np.inf)) for way in (-1, 1)]
        values = np.concatenate((thresholds, *near, special))
        rows[:, feature] = generator.choice(values[~np.isinf(values)], _NUM_PROBES)
    return rows


def _thresholds(path: Path, num_features: int) -> list[Float32[np.ndarray, " splits"]]:
    """Distinct finite split thresholds by feature."""
    found: list[list[str]] = [[] for _ in range(num_features)]
    features: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, values = line.partition("=")
        if name == "split_feature":
            features = values.split()
        elif name == "threshold":
            for feature, threshold in zip(features, values.split(), strict=True):
                found[int(feature)].append(threshold)
    with np.errstate(over="ignore"):  # a threshold may exceed what float32 holds; it is left out
        every = [np.unique(np.asarray(values, np.float64).astype(np.float32)) for values in found]
    return [values[np.isfinite(values)] for values in every]
