"""The user tower for one user at a time, in NumPy: a request has no time for the overhead of tensors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64
from torch import Tensor

from recsys.encoder import NUM_AGE_BUCKETS, NUM_STEPS, UserTower
from recsys.index import VectorIndex
from recsys.schema import DAY_MS
from recsys.user_items import Recent

_TINY = np.float32(1e-12)


@dataclass(frozen=True, eq=False)
class InterestTower:
    """The weights of ``recsys.encoder.UserTower``; ``vector`` is its ``forward`` for a batch of one."""

    content: Float32[np.ndarray, "dim heads"]
    content_bias: Float32[np.ndarray, " heads"]
    event_type: Float32[np.ndarray, "event_types heads"]
    age: Float32[np.ndarray, "buckets heads"]
    step: Float32[np.ndarray, "steps heads"]
    count: Float32[np.ndarray, " heads"]
    mix: Float32[np.ndarray, "heads_dim dim"]
    mix_bias: Float32[np.ndarray, " dim"]

    @classmethod
    def of(cls, tower: UserTower) -> "InterestTower":
        """Copy a tower's weights."""
        return cls(
            content=_array(tower.content.weight.T),
            content_bias=_array(tower.content.bias),
            event_type=_array(tower.event_type.weight),
            age=_array(tower.age.weight),
            step=_array(tower.step.weight),
            count=_array(tower.count),
            mix=_array(tower.mix.weight.T),
            mix_bias=_array(tower.mix.bias),
        )

    def vector(self, index: VectorIndex, recent: Recent) -> Float32[np.ndarray, " dim"]:
        """The unit interest vector of a recent history; without one, the shared vector."""
        if not len(recent.positions):
            return _unit(self.mix_bias)
        vectors = index.of_items(recent.positions)
        age_days = ((recent.last_ms.max() - recent.last_ms) / DAY_MS).astype(np.float32)
        buckets = (2 * np.log2(1 + age_days)).astype(np.int64)
        logits = vectors @ self.content + self.content_bias + self.event_type[recent.event_types]
        logits += self.age[np.minimum(buckets, NUM_AGE_BUCKETS - 1)] + self.step[_steps(recent.last_ms)]
        logits += np.log1p(recent.counts.astype(np.float32))[:, None] * self.count
        weights = np.exp(logits - logits.max(0))
        means = (weights / weights.sum(0)).T @ vectors
        return _unit(means.ravel() @ self.mix + self.mix_bias)


def _steps(last_ms: Int64[np.ndarray, " recent"]) -> Int64[np.ndarray, " recent"]:
    """Number of distinct later times, up to the last step that is told apart."""
    times, at = np.unique(last_ms, return_inverse=True)
    later: Int64[np.ndarray, " recent"] = np.minimum(len(times) - 1 - at, NUM_STEPS - 1)
    return later


def _unit(vector: Float32[np.ndarray, " dim"]) -> Float32[np.ndarray, " dim"]:
    unit: Float32[np.ndarray, " dim"] = vector / np.maximum(np.sqrt(vector @ vector), _TINY)
    return unit


def _array(weights: Tensor) -> Float32[np.ndarray, "*shape"]:
    array: Float32[np.ndarray, "*shape"] = np.ascontiguousarray(weights.detach().numpy(), np.float32)
    return array.copy()
