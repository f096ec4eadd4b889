"""What another model would have earned from lists that were drawn at random, the first places of each.

A list was drawn slot by slot with logged propensities. The other model gives its own candidates their scores
at the same moment and would have drawn by Plackett and Luce at the same temperature, so that its propensity
of every slot is known too; an item that it would not have offered has propensity 0. The estimate is
cascade-DR of ``recsys.experiments.slate``, over the first ``slots`` places and the rewards there.

The reward model is a table: mean reward by slot and by the item's rank with the other model, cross-fitted
over users and drawn towards the slot's mean. Its expectation under the other model is a sum over few ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recsys.experiments.importance import Diagnosis, diagnose
from recsys.experiments.off_policy import Ratio, mean_of
from recsys.experiments.resampling import Interval, interval, replicates
from recsys.experiments.reward_model import FOLDS, folds
from recsys.experiments.slate import SlateLog, cascade_dr

RANK_ENDS = (1, 2, 3, 5, 10, 20, 50)
"""Ranks, from 1, at which one row of the reward table ends; further ones share the last row but one."""
_NOT_OFFERED = len(RANK_ENDS) + 1
_SMOOTHING = 50.0  # rows that the slot's mean counts for


@dataclass(frozen=True, eq=False)
class RescoredList:
    """One list that was served, and what another model makes of the same moment."""

    user: str
    item_ids: Sequence[str]
    """As served, first place first."""
    propensities: Sequence[float]
    """Logged, each given the items above; in (0, 1]."""
    rewards: Sequence[float]
    """Per place."""
    offered: Sequence[str]
    """What the other model would have drawn from."""
    scores: Sequence[float]
    """The other model's, of ``offered``, in any order."""


@dataclass(frozen=True)
class Comparison:
    """Another model against the one that served, in rewards per list."""

    served: Interval
    estimate: Interval
    """The other model, by cascade-DR."""
    difference: Interval
    """``estimate - served``, from the same draws of users."""
    diagnosis: Diagnosis
    num_lists: int
    num_users: int

    @property
    def reasons(self) -> list[str]:
        """Why there is no verdict; empty when there is one."""
        return self.diagnosis.reasons()


def compare_served(
    lists: Sequence[RescoredList], temperature: float, slots: int, *, seed: int = 0
) -> Comparison:
    """Compare another model with the one that served.

    Args:
        lists: At least one.
        temperature: Scores are divided by it before they are exponentiated; above 0.
        slots: First places of every list that are judged; shorter lists count as they are.
        seed: Of folds and bootstrap.
    """
    log = rescored_log(lists, temperature, slots, seed=seed)
    estimated = cascade_dr(log)
    assert estimated is not None  # rescored_log gives it a model
    served = mean_of(log.reward.sum(axis=1))
    difference = mean_of(estimated.numerator - served.numerator)
    ratios: list[Ratio] = [served, estimated, difference]
    drawn = replicates(ratios, log.cluster, seed=seed)
    of_served, of_other, of_both = (interval(ratio.estimate, drawn[:, at]) for at, ratio in enumerate(ratios))
    diagnosis = diagnose(log.prefix_weight[:, -1], log.cluster)
    return Comparison(of_served, of_other, of_both, diagnosis, len(lists), int(log.cluster.max()) + 1)


def rescored_log(lists: Sequence[RescoredList], temperature: float, slots: int, *, seed: int = 0) -> SlateLog:
    """The lists as a log for estimators of lists; arguments as for ``compare_served``."""
    shape = (len(lists), slots)
    reward, ratio = np.zeros(shape), np.ones(shape)
    rank = np.full(shape, -1)
    chance = np.zeros((*shape, _NOT_OFFERED + 1))
    for at, one in enumerate(lists):
        length = min(slots, len(one.item_ids))
        target, rank[at, :length], chance[at, :length] = _drawn(one, temperature, length)
        reward[at, :length] = one.rewards[:length]
        ratio[at, :length] = target / np.asarray(one.propensities[:length])
    _, cluster = np.unique([one.user for one in lists], return_inverse=True)
    q_logged, q_target = _tabulated(reward, rank, chance, folds(cluster, seed))
    return SlateLog(reward, ratio, cluster, None, q_logged, q_target)


def _drawn(
    one: RescoredList, temperature: float, length: int
) -> tuple[Float64[np.ndarray, " slots"], Int64[np.ndarray, " slots"], Float64[np.ndarray, "slots ranks"]]:
    """The other model's propensity of each slot's item, the item's table row, and each row's chance."""
    scores = np.asarray(one.scores, np.float64) / temperature
    weight = np.exp(scores - scores.max()) if len(scores) else scores
    row_of_rank = np.searchsorted(RANK_ENDS, np.arange(1, len(scores) + 1))
    row = np.empty(len(scores), np.int64)
    row[np.argsort(-scores, kind="stable")] = row_of_rank
    place = {item_id: at for at, item_id in enumerate(one.offered)}
    propensity, rows = np.zeros(length), np.full(length, _NOT_OFFERED)
    chance = np.zeros((length, _NOT_OFFERED + 1))
    for slot, item_id in enumerate(one.item_ids[:length]):
        left = weight.sum()
        if left > 0:
            chance[slot] = np.bincount(row, weights=weight / left, minlength=_NOT_OFFERED + 1)
        at = place.get(item_id)
        if at is not None and left > 0:
            propensity[slot], rows[slot] = weight[at] / left, row[at]
            weight[at] = 0.0
    return propensity, rows, chance


def _tabulated(
    reward: Float64[np.ndarray, "lists slots"],
    rank: Int64[np.ndarray, "lists slots"],
    chance: Float64[np.ndarray, "lists slots ranks"],
    fold: Int64[np.ndarray, " lists"],
) -> tuple[Float64[np.ndarray, "lists slots"], Float64[np.ndarray, "lists slots"]]:
    """``q_logged`` and ``q_target`` of a table made from the other folds; 0 where there is no slot."""
    q_logged, q_target = np.zeros(reward.shape), np.zeros(reward.shape)
    for number in range(FOLDS):
        inside = fold == number
        for slot in range(reward.shape[1]):
            there, others = inside & (rank[:, slot] >= 0), ~inside & (rank[:, slot] >= 0)
            table = _table(reward[others, slot], rank[others, slot])
            q_logged[there, slot] = table[rank[there, slot]]
            q_target[there, slot] = chance[there, slot] @ table
    return q_logged, q_target


def _table(
    reward: Float64[np.ndarray, " rows"], rank: Int64[np.ndarray, " rows"]
) -> Float64[np.ndarray, " ranks"]:
    mean = float(reward.mean()) if len(reward) else 0.0
    total = np.bincount(rank, weights=reward, minlength=_NOT_OFFERED + 1)
    count = np.bincount(rank, minlength=_NOT_OFFERED + 1)
    smoothed: Float64[np.ndarray, " ranks"] = (total + _SMOOTHING * mean) / (count + _SMOOTHING)
    return smoothed
