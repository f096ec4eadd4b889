import math

import pytest
import torch

from training.losses import InterestLoss, anchoring, sampled_softmax

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
TARGET = torch.tensor([0, 1])
EVEN = torch.full((3,), math.log(1 / 3))
NO_OTHERS = torch.zeros(2, 3, dtype=torch.bool)


def loss_of(
    logits: torch.Tensor = LOGITS, log_frequency: torch.Tensor = EVEN, others: torch.Tensor = NO_OTHERS
) -> float:
    return sampled_softmax(logits, TARGET, log_frequency, others).item()


def test_the_loss_is_the_mean_of_the_corrected_negative_log_likelihoods() -> None:
    share = (0.5, 0.3, 0.2)
    first = math.exp(2) / 0.5, math.exp(0.5) / 0.3, math.exp(-1) / 0.2
    second = math.exp(0) / 0.5, math.exp(1) / 0.3, math.exp(3) / 0.2
    expected = -(math.log(first[0] / sum(first)) + math.log(second[1] / sum(second))) / 2
    assert loss_of(log_frequency=torch.tensor(share).log()) == pytest.approx(expected, rel=1e-6)


def test_equal_frequencies_correct_nothing() -> None:
    plain = torch.nn.functional.cross_entropy(LOGITS, TARGET).item()
    assert loss_of() == pytest.approx(plain, rel=1e-6)


def test_a_frequent_class_weighs_less_as_a_negative_and_a_rare_one_more() -> None:
    last_frequent = torch.tensor([0.1, 0.1, 0.8]).log()
    last_rare = torch.tensor([0.45, 0.45, 0.1]).log()
    assert loss_of(log_frequency=last_frequent) < loss_of() < loss_of(log_frequency=last_rare)


def test_the_correction_makes_the_batch_estimate_the_full_softmax() -> None:
    # With every class drawn in proportion to q, the corrected sum over a large batch is that of all classes.
    generator = torch.Generator().manual_seed(0)
    scores = torch.tensor([0.3, -0.2, 1.0, 0.1])
    share = torch.tensor([0.6, 0.2, 0.15, 0.05])
    drawn = torch.multinomial(share, 20_000, replacement=True, generator=generator)
    batch = torch.cat((torch.tensor([2]), drawn))
    logits = scores[batch][None]
    found = sampled_softmax(
        logits, torch.tensor([0]), share.log()[batch], torch.zeros(1, len(batch), dtype=torch.bool)
    )
    # one target among n draws: -log(exp(s_t) / q_t / (n * sum_j exp(s_j)))
    expected = -(scores[2] - share[2].log() - math.log(len(drawn)) - scores.exp().sum().log())
    assert found.item() == pytest.approx(expected.item(), rel=5e-3)


def test_other_positives_of_the_same_user_are_no_negatives() -> None:
    others = torch.tensor([[False, True, False], [False, False, False]])
    first = math.exp(2) / (math.exp(2) + math.exp(-1))
    second = math.exp(1) / (math.exp(0) + math.exp(1) + math.exp(3))
    assert loss_of(others=others) == pytest.approx(-(math.log(first) + math.log(second)) / 2, rel=1e-6)


def test_a_step_against_the_gradient_raises_targets_and_lowers_negatives_but_not_masked_ones() -> None:
    logits = LOGITS.clone().requires_grad_()
    others = torch.tensor([[False, True, False], [True, False, False]])
    (gradient,) = torch.autograd.grad(sampled_softmax(logits, TARGET, EVEN, others), logits)
    assert gradient.isfinite().all()
    assert gradient[0, 0] < 0
    assert gradient[1, 1] < 0
    assert gradient[0, 2] > 0
    assert gradient[1, 2] > 0
    assert gradient[0, 1] == gradient[1, 0] == 0


def test_adding_the_same_to_all_logits_of_a_pair_changes_nothing() -> None:
    shifted = LOGITS + torch.tensor([[5.0], [-3.0]])
    assert loss_of(shifted) == pytest.approx(loss_of(), rel=1e-5)


def test_the_loss_is_least_when_the_targets_stand_out() -> None:
    sure = torch.tensor([[30.0, 0.0, 0.0], [0.0, 30.0, 0.0]])
    assert 0 <= loss_of(sure) < 1e-6
    assert loss_of(-sure) > 20


def test_the_interest_loss_is_the_binary_cross_entropy_of_the_scaled_similarity() -> None:
    loss = InterestLoss(rate=0.2, slope=2.0)
    found = loss(torch.tensor([0.5, -1.0]), torch.tensor([True, False]))
    # the log-odds of 0.2 are -ln 4: margins 1 - ln 4 and -2 - ln 4
    likelihood = 1 / (1 + 4 * math.exp(-1)), 1 - 1 / (1 + 4 * math.exp(2))
    assert found.item() == pytest.approx(-(math.log(likelihood[0]) + math.log(likelihood[1])) / 2, rel=1e-5)


def test_shown_items_that_nobody_takes_lower_the_intercept() -> None:
    loss = InterestLoss(rate=0.5)
    torch.autograd.backward(loss(torch.zeros(4), torch.zeros(4, dtype=torch.bool)))
    assert loss.intercept.grad is not None
    assert loss.intercept.grad > 0  # descent goes down


def test_a_log_without_engagement_starts_at_a_finite_intercept() -> None:
    for rate in (0.0, 1.0):
        assert bool(InterestLoss(rate).intercept.isfinite())


def test_an_anchor_is_the_mean_squared_distance() -> None:
    tuned = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    frozen = torch.tensor([[1.0, 0.0], [3.0, 5.0]])
    assert anchoring(tuned, frozen).item() == pytest.approx((0 + 9 + 16) / 2)
