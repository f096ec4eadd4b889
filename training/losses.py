"""Losses of the encoder."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional


def sampled_softmax(
    logits: Float[Tensor, "pairs classes"],
    target: Int[Tensor, " pairs"],
    log_frequency: Float[Tensor, " classes"],
    other_positive: Bool[Tensor, "pairs classes"],
) -> Float[Tensor, ""]:
    """In-batch softmax cross-entropy with logQ correction.

    Classes are the distinct positives of the batch. A frequent class is a negative more often than a rare
    one; taking ``log q`` off its logit makes the estimate that of the full softmax:
    ``-log( exp(s_t - log q_t) / sum_j exp(s_j - log q_j) )``.

    Args:
        logits: Similarity ``s`` of each pair's user to each class.
        target: Class of each pair's positive.
        log_frequency: ``log q``, the logarithm of each class's share of the positives.
        other_positive: True where a class is another positive of the same user and moment; it is no negative.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys
        2019, equations 3 and 4. Deviation: ``q`` is counted over the data instead of estimated from a stream,
        and other positives of the user are masked.
    """
    corrected = (logits - log_frequency).masked_fill(other_positive, -torch.inf)
    return functional.cross_entropy(corrected, target)


class InterestLoss(nn.Module):
    """Binary cross-entropy of ``sigmoid(slope * similarity + intercept)`` on what was shown.

    Both numbers are learned. The slope is held as its logarithm: similar never comes to mean unwanted.
    """

    def __init__(self, rate: float, slope: float = 5.0) -> None:
        """Start at the log-odds of ``rate``, the share of shown items that were engaged with."""
        super().__init__()
        self.log_slope = nn.Parameter(torch.tensor(slope).log())
        self.intercept = nn.Parameter(torch.tensor(min(max(rate, 1e-4), 1 - 1e-4)).logit())

    def forward(
        self, similarity: Float[Tensor, " shown"], engaged: Bool[Tensor, " shown"]
    ) -> Float[Tensor, ""]:
        """Mean over the shown items."""
        logits = self.log_slope.exp() * similarity + self.intercept
        return functional.binary_cross_entropy_with_logits(logits, engaged.to(logits.dtype))


def anchoring(tuned: Float[Tensor, "texts width"], frozen: Float[Tensor, "texts width"]) -> Float[Tensor, ""]:
    """Mean squared distance between base vectors and what they were before training.

    It keeps the space in place for texts that no event teaches anything about.
    """
    return (tuned - frozen).square().sum(1).mean()
