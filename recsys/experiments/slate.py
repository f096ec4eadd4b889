"""What a ranking policy would have earned, from a log of lists: estimators that use the order of a list.

A log holds per list i and slot l the reward ``r_l`` and the ratio ``w_l`` of the target's to the logging
policy's propensity of the slot's item *given the items above*; ``w_{1:l}`` is the product of the first l.

=================== ============================================================ ===========================
estimator           formula, mean over lists                                      unbiased when
=================== ============================================================ ===========================
standard            ``w_{1:L} sum_l r_l``                                         always; of most variance
reward_interaction  ``sum_l w_{1:l} r_l``                                         a slot's reward depends on
                                                                                  the slots above only
independent         ``sum_l m_l r_l``                                             it depends on the slot only
cascade_dr          ``sum_l w_{1:l} (r_l - q_l) + w_{1:l-1} v_l``                 as ``reward_interaction``
=================== ============================================================ ===========================

``m_l`` is the ratio of the *marginal* propensities of the item in slot l, ``q_l`` a model's value of the
slot's item given those above, ``v_l = E_target[q_l]`` given the same; ``w_{1:0} = 1``. A model of the rewards
from slot l on has least variance; any other leaves it unbiased.

Sources: standard and independent, Li et al. (2018), *Offline Evaluation of Ranking Policies with Click
Models*; reward_interaction, McInerney et al. (2020), *Counterfactual Evaluation of Slate Recommendations with
Sequential Reward Interactions*, eq. 6 before its self-normalisation; cascade_dr, Kiyohara et al. (2022),
*Doubly Robust Off-Policy Evaluation for Ranking Policies under the Cascade Behavior Model*, eq. 7.

Shorter lists are filled up with ratio 1, reward 0 and value 0, which adds nothing to any of the sums.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recsys.experiments.off_policy import Ratio, mean_of


@dataclass(frozen=True, eq=False)
class SlateLog:
    """A log of lists that was checked, see ``recsys.experiments.policy_log``."""

    reward: Float64[np.ndarray, "lists slots"]
    ratio: Float64[np.ndarray, "lists slots"]
    """Target by logging propensity, each given the items above."""
    cluster: Int64[np.ndarray, " lists"]
    """Whose list each is, from 0 without gaps."""
    marginal_ratio: Float64[np.ndarray, "lists slots"] | None = None
    """Target by logging propensity of the item in the slot, whatever stands above."""
    q_logged: Float64[np.ndarray, "lists slots"] | None = None
    q_target: Float64[np.ndarray, "lists slots"] | None = None

    @property
    def prefix_weight(self) -> Float64[np.ndarray, "lists slots"]:
        """``w_{1:l}``."""
        return np.cumprod(self.ratio, axis=1)


def standard(log: SlateLog) -> Ratio:
    """Inverse propensity scoring of whole lists."""
    return mean_of(log.prefix_weight[:, -1] * log.reward.sum(axis=1))


def reward_interaction(log: SlateLog) -> Ratio:
    """Every slot's reward, weighted by the list down to it."""
    return mean_of((log.prefix_weight * log.reward).sum(axis=1))


def independent(log: SlateLog) -> Ratio | None:
    """Every slot's reward, weighted by itself alone; ``None`` without marginal propensities."""
    if log.marginal_ratio is None:
        return None
    return mean_of((log.marginal_ratio * log.reward).sum(axis=1))


def cascade_dr(log: SlateLog) -> Ratio | None:
    """A model of rewards, corrected slot by slot; ``None`` without one."""
    if log.q_logged is None or log.q_target is None:
        return None
    down_to = log.prefix_weight
    above = np.hstack([np.ones((len(down_to), 1)), down_to[:, :-1]])
    return mean_of((down_to * (log.reward - log.q_logged) + above * log.q_target).sum(axis=1))


def slate_estimators(log: SlateLog) -> dict[str, Ratio | None]:
    """Every estimator by its name in the report."""
    return {
        "standard": standard(log),
        "independent": independent(log),
        "reward_interaction": reward_interaction(log),
        "cascade_dr": cascade_dr(log),
    }
