"""The report on a policy that was evaluated from a log: estimates, what the weights say, and a verdict."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.errors import ConfigError
from recsys.experiments.importance import Diagnosis, diagnose
from recsys.experiments.off_policy import DEFAULT_CLIP, Ratio, estimators, mean_of
from recsys.experiments.policy_log import SLATE_ID, checked, policy_log, read_policy_log, slate_log
from recsys.experiments.resampling import Interval, intervals
from recsys.experiments.slate import slate_estimators


@dataclass(frozen=True)
class OfflineReport:
    """What a log says about a policy that did not serve."""

    estimates: Mapping[str, Interval | None]
    """By estimator; ``None`` where it needs a reward model and there is none."""
    logged: Interval
    """What the policy that served earned: the mean reward."""
    diagnosis: Diagnosis
    clip: float
    share_clipped: float
    """Share of the rows whose weight is above ``clip``, 0 to 1."""
    num_rows: int
    num_users: int
    """Clusters of the bootstrap: users, or rows where users are not known."""
    reasons: Sequence[str]
    """Why there is no verdict; empty when there is one."""
    slate: Mapping[str, Interval | None] = field(default_factory=dict)
    """By estimator of lists; empty for a log without lists."""

    @property
    def verdict(self) -> str:
        """``ok`` or ``refused``."""
        return "refused" if self.reasons else "ok"

    def to_json(self) -> str:
        """One JSON document; what is no number is null."""
        return json.dumps(self.document(), allow_nan=False)

    def document(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            **_plain(self.estimates),
            "effective_sample_size": self.diagnosis.effective_sample_size,
            "max_weight": self.diagnosis.max_weight,
            "mean_weight": self.diagnosis.mean_weight,
            "mean_weight_std_error": _number(self.diagnosis.mean_weight_std_error),
            "coverage": self.diagnosis.coverage,
            "logged": _plain({"logged": self.logged})["logged"],
            "clip": self.clip,
            "share_clipped": self.share_clipped,
            "rows": self.num_rows,
            "users": self.num_users,
            "slate": _plain(self.slate) or None,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
        }


def evaluate_offline(log: pl.DataFrame | Path, *, clip: float = DEFAULT_CLIP, seed: int = 0) -> OfflineReport:
    """Estimate what a policy would have earned from a log of another one.

    Args:
        log: Columns as in ``recsys.experiments.policy_log``, or a Parquet file of them.
        clip: Largest weight of ``clipped_ips``.
        seed: Of the bootstrap.

    Raises:
        DataError: The log breaks the contract.
        ConfigError: ``clip`` is not above 0.
    """
    if not clip > 0:
        raise ConfigError(f"expected a clip above 0, got {clip}")
    frame = read_policy_log(log) if isinstance(log, Path) else checked(log)
    rows = policy_log(frame)
    diagnosis = diagnose(rows.weight, rows.cluster)
    found = _intervals(estimators(rows, clip) | {"logged": mean_of(rows.reward)}, rows.cluster, seed)
    logged = found.pop("logged")
    assert logged is not None
    slate: Mapping[str, Interval | None] = {}
    if SLATE_ID in frame.columns:
        lists = slate_log(frame)
        slate = _intervals(slate_estimators(lists), lists.cluster, seed)
    return OfflineReport(
        estimates=found,
        logged=logged,
        diagnosis=diagnosis,
        clip=clip,
        share_clipped=float((rows.weight > clip).mean()),
        num_rows=len(rows.reward),
        num_users=int(rows.cluster.max()) + 1,
        reasons=diagnosis.reasons(),
        slate=slate,
    )


def _intervals(
    ratios: Mapping[str, Ratio | None], cluster: np.ndarray, seed: int
) -> dict[str, Interval | None]:
    present = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    found = intervals(present, cluster, seed=seed)
    return {name: found.get(name) for name in ratios}


def _plain(estimates: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {
        name: {part: _number(value) for part, value in asdict(found).items()} if found is not None else None
        for name, found in estimates.items()
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
