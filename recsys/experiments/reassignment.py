"""A/A on a real log: the same units with the arms that other salts would have given them, analysed anew."""

import numpy as np
import polars as pl

from recsys.experiments.assignment import assign
from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.definition import Experiment
from recsys.experiments.metric_analysis import analyze_metric
from recsys.experiments.simulation import Rate, rate_of


def false_positives(experiment: Experiment, frame: pl.DataFrame, runs: int) -> Rate:
    """How often the primary metric is found to differ where no arm can have made a difference.

    Args:
        experiment: The definition; its method and alpha, of the first comparison.
        frame: One row per unit, with the columns of the primary metric; see ``check_units``.
        runs: Salts to try.
    """
    everybody = {"layer_range": (0.0, 1.0), "targeting": "", "coverage": 1.0}
    found = np.zeros(runs, np.bool_)
    for run in range(runs):
        salted = experiment.model_copy(update={**everybody, "salt": f"{experiment.salt}-again-{run}"})
        result, _ = analyze_metric(salted, _assigned(salted, frame), salted.primary)
        p_value = result.comparisons[0].p_value if result.comparisons else None
        found[run] = p_value is not None and p_value < experiment.analysis.alpha
    return rate_of(found)


def _assigned(experiment: Experiment, frame: pl.DataFrame) -> pl.DataFrame:
    arms = assign(experiment, frame[UNIT_ID].to_list()).arms
    keys = pl.Series([arm.key for arm in experiment.arms])
    return frame.with_columns(keys.gather(arms).alias(ARM)).sort(ARM, maintain_order=True)
