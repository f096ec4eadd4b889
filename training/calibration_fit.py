"""Fits the interest probability on data that the encoder was not trained on, and measures it on more."""

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from recsys.calibration import Calibration, Reliability, reliability
from training.encoder_module import EncoderModule
from training.examples import Examples
from training.impressions import ShownLists, collate_shown
from training.next_items import NextItems, collate

_MOMENTS = 1_000
_TEXTS = 200
_LISTS = 4_000

Pairs = tuple[Float64[np.ndarray, " pairs"], Bool[np.ndarray, " pairs"]]
"""Similarity of user and item, and whether the user engaged with it."""


@torch.inference_mode()
def calibrate(module: EncoderModule, held_out: Examples, until_ms: int) -> tuple[Calibration, Reliability]:
    """Fit the interest probability on one half of the held-out data and measure it on the other.

    Where the log has ranked lists that somebody engaged with, the question is whether a shown item is engaged
    with; elsewhere, whether a text among the user's nearest is in the user's next basket.

    Args:
        module: The trained encoder; its table is up to date.
        held_out: Examples that nothing was trained on.
        until_ms: End of the data they come from, exclusive; milliseconds since the epoch.
    """
    lists = held_out.shown
    if lists is not None and 0 < lists.rate < 1 and len(lists) > 1:
        fitted, measured = (_shown_pairs(module, lists, half) for half in _halves(len(lists), _LISTS))
    else:
        moments = held_out.next_items
        fitted, measured = (_next_pairs(module, moments, half) for half in _halves(len(moments), _MOMENTS))
    calibration = fit_calibration(*fitted, until_ms)
    return calibration, reliability(calibration.probability(measured[0]), measured[1])


def _halves(length: int, size: int) -> tuple[list[int], list[int]]:
    """Two disjoint draws of at most ``size``; a lone example is in both."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(0)).tolist()
    middle = min(size, max(length // 2, 1))
    return order[:middle], order[middle : middle + size] or order


def _next_pairs(module: EncoderModule, moments: NextItems, chosen: list[int]) -> Pairs:
    batch, table = collate([moments[i] for i in chosen]), module.table
    vectors: Tensor = module.towers.item(table.base[table.used])
    similarity, nearest = (module.user_vectors(batch.history) @ vectors.T).topk(min(_TEXTS, len(vectors)))
    positive = torch.zeros(len(chosen), len(table.base), dtype=torch.bool)
    positive[batch.pair_user, batch.pair_text] = True
    engaged = positive.gather(1, table.used[nearest])
    return similarity.double().flatten().numpy(), engaged.flatten().numpy()


def _shown_pairs(module: EncoderModule, lists: ShownLists, chosen: list[int]) -> Pairs:
    batch = collate_shown([lists[i] for i in chosen])
    users = module.user_vectors(batch.history)[batch.shown_user]
    vectors: Tensor = module.towers.item(module.table.base[batch.shown_text])
    return (users * vectors).sum(1).double().numpy(), batch.engaged.numpy()


def fit_calibration(
    similarity: Float64[np.ndarray, " pairs"], engaged: Bool[np.ndarray, " pairs"], fitted_until_ms: int
) -> Calibration:
    """Slope and intercept with the least binary cross-entropy.

    Args:
        similarity: Inner product of interest and item vector per pair.
        engaged: Whether the user engaged with the item.
        fitted_until_ms: End of the data the pairs come from.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; without its smoothed targets.
    """
    sign = np.where(engaged, 1.0, -1.0)

    def loss(parameters: Float64[np.ndarray, " two"]) -> tuple[float, Float64[np.ndarray, " two"]]:
        margin = sign * (parameters[0] * similarity + parameters[1])
        pull = -sign * expit(-margin)
        return float(np.logaddexp(0, -margin).mean()), np.array([(pull * similarity).mean(), pull.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B")
    return Calibration(float(found.x[0]), float(found.x[1]), fitted_until_ms)
