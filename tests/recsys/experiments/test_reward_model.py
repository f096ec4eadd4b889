import numpy as np
import polars as pl
import pytest

from recsys.experiments.offline_report import evaluate_offline
from recsys.experiments.reward_model import Options, cross_fitted


def some_log(num_rows: int, seed: int = 0) -> tuple[pl.DataFrame, float]:
    """A log of three actions, whose value turns with a context, and the target policy's true value."""
    random = np.random.default_rng(seed)
    age = random.integers(2, size=num_rows)
    value = np.asarray([[0.1, 0.3, 0.5], [0.6, 0.3, 0.2]])
    logging, target = np.asarray([0.5, 0.3, 0.2]), np.asarray([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2]])
    action = random.choice(3, size=num_rows, p=logging)
    frame = pl.DataFrame(
        {
            "reward": (random.random(num_rows) < value[age, action]).astype(float),
            "logging_propensity": logging[action],
            "target_propensity": target[age, action],
            "user_id": random.integers(num_rows // 4, size=num_rows),
            "action": [f"banner {a}" for a in action],
            "target_actions": [["banner 0", "banner 1", "banner 2"]] * num_rows,
            "target_propensities": target[age].tolist(),
            "context_age": age,
        }
    )
    return frame, float((target * value).sum(1)[age].mean())


def test_a_model_is_fitted_where_the_log_says_what_else_could_be_served() -> None:
    frame, true = some_log(8_000)
    report = evaluate_offline(frame)
    dm, dr, ips = (report.estimates[name] for name in ("dm", "dr", "ips"))
    assert dm is not None
    assert dr is not None
    assert ips is not None
    assert dm.estimate == pytest.approx(true, abs=0.03)
    assert dr.low < true < dr.high
    assert dr.high - dr.low < ips.high - ips.low


def test_no_row_is_valued_by_a_model_that_saw_its_user() -> None:
    """Every user has a reward of their own and a feature that names them: nothing can be told from others."""
    cluster = np.repeat(np.arange(60), 10)
    reward = np.random.default_rng(0).normal(size=60)[cluster]
    features = cluster[:, None].astype(float)
    options = Options(np.arange(600), features, np.ones(600))
    q_logged, q_target = cross_fitted(features, reward, options, cluster, categorical=(0,))
    assert abs(np.corrcoef(q_logged, reward)[0, 1]) < 0.5
    assert q_target == pytest.approx(q_logged)


def test_too_few_rows_get_the_mean_of_the_others() -> None:
    features, reward = np.zeros((10, 1)), np.arange(10.0)
    q_logged, _ = cross_fitted(features, reward, Options(np.arange(10), features, np.ones(10)), np.arange(10))
    assert q_logged.mean() == pytest.approx(reward.mean())
    assert all(value != own for value, own in zip(q_logged, reward, strict=True))
