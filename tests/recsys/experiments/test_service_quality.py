from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from recsys.experiments.service_quality import service_problems, service_quality
from recsys.experiments.version_scope import VersionScope
from recsys.schema import SERVED_LIST_SCHEMA
from tests.recsys.experiments.small_experiment import experiment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUM_USERS = 600


def served(
    *,
    degraded: tuple[float, float] = (0.02, 0.02),
    ms: tuple[float, float] = (20.0, 20.0),
    users: int = NUM_USERS,
) -> pl.LazyFrame:
    """Five lists for every user, half of the users in each arm: share of degraded lists, and mean latency."""
    rng = np.random.default_rng(0)
    arms = np.repeat(np.arange(users) % 2, 5)
    size = len(arms)
    names = np.array(["control", "treatment"])[arms]
    known = {
        "list_id": [str(number) for number in range(size)],
        "served_time": [NOON] * size,
        "subject": [f"u{number // 5}" for number in range(size)],
        "service_level": np.where(rng.random(size) < np.array(degraded)[arms], "POPULAR", "FULL").tolist(),
        "arms": [[{"experiment": "e", "arm": name}] for name in names.tolist()],
        "first_position": [0] * size,
        "latency_ms": rng.gamma(4.0, np.array(ms)[arms] / 4).tolist(),
    }
    columns = [
        pl.Series(name, known.get(name, [None] * size), dtype) for name, dtype in SERVED_LIST_SCHEMA.items()
    ]
    return pl.DataFrame(columns).lazy()


def test_equal_arms_are_described_and_nothing_is_breached() -> None:
    control, treatment = service_quality(served(), experiment())
    assert (control.arm, control.lists, treatment.lists) == ("control", 1500, 1500)
    assert control.degraded == pytest.approx(0.02, abs=0.01)
    assert control.p95_ms == pytest.approx(38.8, rel=0.1)  # of a gamma with shape 4 and mean 20
    assert control.slow == pytest.approx(0.05, abs=0.001)
    assert control.breaches == treatment.breaches == ()


def test_an_arm_that_falls_back_and_one_that_is_slow_are_named() -> None:
    _, fallen = service_quality(served(degraded=(0.02, 0.15)), experiment())
    assert fallen.breaches[0].startswith("treatment has 1")
    _, slow = service_quality(served(ms=(20.0, 40.0)), experiment())
    assert slow.breaches[0].startswith("treatment is slow: 95 % of its lists are ready within 7")
    (problem,) = service_problems((slow,))
    assert (problem.code, problem.severity) == ("worse_service", "warning")


def test_a_slow_control_and_few_users_are_no_breach() -> None:
    arms = service_quality(served(degraded=(0.15, 0.02), ms=(40.0, 20.0)), experiment())
    few = service_quality(served(degraded=(0.02, 0.5), users=300), experiment())
    assert all(arm.breaches == () for arm in (*arms, *few))


def test_only_first_pages_of_the_time_and_not_by_hand_count() -> None:
    frame = served()
    assert service_quality(frame, experiment(), until=NOON) == ()
    other = VersionScope(2, {"control": None, "treatment": None}, is_only=False)
    assert service_quality(frame, experiment(), scope=other) == ()
    assert service_quality(frame, experiment("other")) == ()
    assert service_quality(frame.with_columns(forced=pl.lit(["e"])), experiment()) == ()
    later = frame.with_columns(first_position=pl.lit(10, pl.Int32))
    assert service_quality(later, experiment()) == ()


def test_lists_of_before_have_no_latency() -> None:
    untimed = served().with_columns(latency_ms=pl.lit(None, pl.Float64))
    for arm in service_quality(untimed, experiment()):
        assert (arm.p95_ms, arm.slow, arm.breaches) == (None, None, ())
