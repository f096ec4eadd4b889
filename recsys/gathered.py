"""What lists are ordered from: a user's moment, what the sources offer, and the features of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64

from recsys.candidates import Candidates
from recsys.moment import Moment


@runtime_checkable
class FeatureSource(Protocol):
    """Computes the ranker's input; ``features.registry.OnlineFeatures``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in column order."""
        ...

    @property
    def words(self) -> Mapping[str, str]:
        """A reason in words by feature name; ``{value}`` in it stands for the feature's value."""
        ...

    def matrix(
        self, moment: Moment, positions: Int64[np.ndarray, " items"]
    ) -> Float32[np.ndarray, "items features"]:
        """Ranker input of many items for one moment."""
        ...


@dataclass(frozen=True, eq=False)
class Gathered:
    """A user's moment, what the sources offer then, and the features of that."""

    moment: Moment
    candidates: Candidates
    features: FeatureSource

    @cached_property
    def matrix(self) -> Float32[np.ndarray, "candidates features"]:
        """The ranker's input, computed when it is first read."""
        return self.features.matrix(self.moment, self.candidates.positions)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What stands behind a list: a user's moment, what the sources offer, and what the filters let pass."""

    moment: Moment
    candidates: Candidates
    passes: Mapping[str, Bool[np.ndarray, " candidates"]]
    """By what a filter takes out, whether it lets each candidate pass."""

    @property
    def keep(self) -> Bool[np.ndarray, " candidates"]:
        """Whether each candidate passes every filter."""
        kept: Bool[np.ndarray, " candidates"] = np.logical_and.reduce(list(self.passes.values()))
        return kept
