"""Who gets which arm: the same answer for one unit at a request and for millions at once.

A unit takes part when it stands within the experiment's part of the layer and its attributes fit the
targeting. Every arm owns a stretch of the places between 0 and 1, as long as its weight, and takes the
``coverage`` share from its start. So a unit's arm depends on the weights alone, and raising the coverage only
adds units: it moves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from jaxtyping import Bool, Int64, UInt32

from recsys.experiments.bucketing import arm_places, buckets, layer_places
from recsys.experiments.definition import Experiment
from recsys.experiments.targeting import compile_targeting

NOBODY = -1
"""Stands for an arm where a unit takes no part."""


@dataclass(frozen=True)
class Assignment:
    """One unit's part in one experiment."""

    experiment: str
    arm: str
    forced: bool = False
    """Given by hand, and so left out of the analysis."""
    version: int = 0
    """Of the experiment's definition, as the registry numbers it; 0 where none is known."""


@dataclass(frozen=True, eq=False)
class Assigned:
    """Many units' arms."""

    arms: Int64[np.ndarray, " units"]
    """Number of the arm, in the definition's order; ``NOBODY`` for none."""
    buckets: UInt32[np.ndarray, " units"]
    """Where each stands among the arms, from 0 to 9,999."""


def assign(
    experiment: Experiment,
    units: Sequence[str],
    coverage: float | None = None,
    attributes: Sequence[Mapping[str, str]] | None = None,
) -> Assigned:
    """The arms of many units.

    Args:
        experiment: The definition.
        units: Their ids.
        coverage: Share of every arm that takes part; the definition's when absent.
        attributes: Of every unit, for the targeting; none are known when absent.
    """
    places = arm_places(experiment, units)
    widths = np.asarray([arm.weight for arm in experiment.arms])
    starts = np.asarray([0.0, *accumulate(widths.tolist())][:-1])
    arms: Int64[np.ndarray, " units"] = np.searchsorted(starts, places, "right") - 1
    share = experiment.coverage if coverage is None else coverage
    taken = places < starts[arms] + share * widths[arms]
    taken &= _in_layer(experiment, units)
    taken &= _targeted(experiment, len(units), attributes)
    return Assigned(np.where(taken, arms, NOBODY), buckets(places))


def _in_layer(experiment: Experiment, units: Sequence[str]) -> Bool[np.ndarray, " units"]:
    low, high = experiment.layer_range
    if (low, high) == (0.0, 1.0):
        return np.ones(len(units), np.bool_)
    places = layer_places(experiment, units)
    inside: Bool[np.ndarray, " units"] = (places >= low) & (places < high)
    return inside


def _targeted(
    experiment: Experiment, num_units: int, attributes: Sequence[Mapping[str, str]] | None
) -> Bool[np.ndarray, " units"]:
    if not experiment.targeting.strip():
        return np.ones(num_units, np.bool_)
    meant = compile_targeting(experiment.targeting)
    if attributes is None:
        return np.full(num_units, meant({}))
    return np.fromiter(map(meant, attributes), np.bool_, num_units)
