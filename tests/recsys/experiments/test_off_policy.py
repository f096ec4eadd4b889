"""Estimators against the formulas of their papers, written as loops over rows."""

import numpy as np
import pytest

from recsys.experiments.importance import clustered_std_error, diagnose
from recsys.experiments.off_policy import (
    PolicyLog,
    clipped_ips,
    direct_method,
    doubly_robust,
    estimators,
    ips,
    snips,
)
from recsys.experiments.resampling import interval, replicates


def some_log(num_rows: int = 500, *, seed: int = 0, with_model: bool = True) -> PolicyLog:
    random = np.random.default_rng(seed)
    logging, target = random.uniform(0.05, 1, (2, num_rows))
    model = random.uniform(0, 1, (2, num_rows)) if with_model else (None, None)
    return PolicyLog(random.normal(1, 2, num_rows), logging, target, np.arange(num_rows) // 3, *model)


def test_every_estimator_is_its_formula() -> None:
    log = some_log()
    assert log.q_logged is not None
    assert log.q_target is not None
    rows = list(
        zip(
            log.reward, log.logging_propensity, log.target_propensity, log.q_logged, log.q_target, strict=True
        )
    )
    n = len(rows)
    expected = {
        "ips": sum(r * t / b for r, b, t, _, _ in rows) / n,
        "clipped_ips": sum(r * min(t / b, 2.5) for r, b, t, _, _ in rows) / n,
        "snips": sum(r * t / b for r, b, t, _, _ in rows) / sum(t / b for _, b, t, _, _ in rows),
        "dm": sum(v for *_, v in rows) / n,
        "dr": sum(t / b * (r - q) + v for r, b, t, q, v in rows) / n,
    }
    found = {name: ratio.estimate for name, ratio in estimators(log, clip=2.5).items() if ratio is not None}
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_log_of_the_policy_itself_gives_its_mean_reward() -> None:
    log = some_log()
    same = PolicyLog(log.reward, log.logging_propensity, log.logging_propensity, log.cluster)
    for estimator in (ips, clipped_ips, snips):
        assert estimator(same).estimate == pytest.approx(log.reward.mean(), rel=1e-12)


def test_without_a_reward_model_what_needs_one_is_absent() -> None:
    log = some_log(with_model=False)
    assert direct_method(log) is None
    assert doubly_robust(log) is None


def test_every_estimator_finds_the_value_of_another_policy() -> None:
    random = np.random.default_rng(1)
    num_rows = 40_000
    context = random.integers(2, size=num_rows)
    logging = np.asarray([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    target = np.asarray([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.3, 0.3]])
    value = np.asarray([[0.1, 0.2, 0.3, 0.6], [0.5, 0.4, 0.1, 0.2]])
    action = (random.random((num_rows, 1)) > logging[context].cumsum(1)[:, :-1]).sum(1)
    reward = (random.random(num_rows) < value[context, action]).astype(float)
    log = PolicyLog(
        reward,
        logging[context, action],
        target[context, action],
        np.arange(num_rows),
        value[context, action],
        (target * value).sum(1)[context],
    )
    true = float((target * value).sum(1).mean())
    found = {name: ratio.estimate for name, ratio in estimators(log).items() if ratio is not None}
    assert found == pytest.approx(dict.fromkeys(found, true), abs=0.012)
    assert diagnose(log.weight, log.cluster).reasons() == []


def test_weights_are_described_by_their_formulas() -> None:
    log = some_log()
    weights = [t / b for t, b in zip(log.target_propensity, log.logging_propensity, strict=True)]
    found = diagnose(log.weight, np.arange(len(weights)))
    assert found.effective_sample_size == pytest.approx(
        sum(weights) ** 2 / sum(w * w for w in weights), rel=1e-9
    )
    assert found.max_weight == max(weights)
    assert found.mean_weight == pytest.approx(sum(weights) / len(weights), rel=1e-9)
    assert found.mean_weight_std_error == pytest.approx(
        np.std(weights, ddof=1) / len(weights) ** 0.5, rel=1e-9
    )
    assert found.coverage == 1.0


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.tile([0.5, 1.5], 400), "effective sample size"),  # 640 of 800
        (np.tile([0.0, 4 / 3, 4 / 3, 4 / 3], 2_000), "could have served 0.750"),
        (np.tile([1.0, 1.2], 2_000), "mean weight is 1.1000"),
    ],
)
def test_each_threshold_refuses_by_itself(weights: np.ndarray, words: str) -> None:
    [reason] = diagnose(weights, np.arange(len(weights))).reasons()
    assert words in reason


def test_equal_weights_of_one_are_fine() -> None:
    assert diagnose(np.ones(1_000), np.arange(1_000)).reasons() == []


def test_rows_of_one_user_count_as_dependent() -> None:
    random = np.random.default_rng(0)
    by_user = random.normal(size=200)
    value, cluster = np.repeat(by_user, 10), np.repeat(np.arange(200), 10)
    assert clustered_std_error(value, cluster) == pytest.approx(np.std(by_user, ddof=1) / 200**0.5, rel=1e-9)
    log = PolicyLog(value, np.ones(2_000), np.ones(2_000), cluster)
    wide, narrow = (
        interval(0.0, replicates([ips(log)], clusters)[:, 0]) for clusters in (cluster, np.arange(2_000))
    )
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(10**0.5, rel=0.1)


def test_many_clusters_are_drawn_in_groups_and_give_the_same_width() -> None:
    value = np.random.default_rng(0).exponential(size=60_000)
    log = PolicyLog(value, np.ones(60_000), np.ones(60_000), np.arange(60_000))
    expected = clustered_std_error(value, log.cluster)
    assert replicates([ips(log)], log.cluster, num=400).std() == pytest.approx(expected, rel=0.1)


def test_the_bootstrap_agrees_with_the_standard_error_and_repeats() -> None:
    log = some_log(3_000)
    drawn = replicates([ips(log), snips(log)], log.cluster)
    assert drawn[:, 0].std() == pytest.approx(
        clustered_std_error(log.weight * log.reward, log.cluster), rel=0.07
    )
    assert (drawn == replicates([ips(log), snips(log)], log.cluster)).all()
