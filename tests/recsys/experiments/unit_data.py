"""Units and definitions for tests of analyses."""

from typing import Any

import numpy as np
import polars as pl

from recsys.experiments.definition import Experiment

REVENUE: dict[str, Any] = {"name": "revenue", "role": "primary", "kind": "mean", "value": "revenue"}
CONVERSION: dict[str, Any] = {"name": "conversion", "kind": "proportion", "value": "bought"}
CLICK_RATE: dict[str, Any] = {
    "name": "click_rate",
    "role": "guardrail",
    "kind": "ratio",
    "numerator": "clicks",
    "denominator": "impressions",
    "margin": 0.01,
}


def experiment(*metrics: dict[str, Any], arms: int = 2, **analysis: Any) -> Experiment:
    keys = ["control", *(f"arm{number}" for number in range(1, arms))]
    return Experiment.model_validate(
        {
            "key": "test",
            "arms": [{"key": key, "weight": 1 / arms} for key in keys],
            "metrics": metrics or (REVENUE,),
            "analysis": analysis,
        }
    )


def units(n: int = 4000, lift: float = 1.0, seed: int = 0, arms: int = 2) -> pl.DataFrame:
    """As many units in every arm; ``lift`` multiplies revenue in all arms but control."""
    rng = np.random.default_rng(seed)
    arm = np.arange(n) % arms
    taste = rng.gamma(4.0, 5.0, n)
    impressions = 5 + rng.poisson(10, n)
    return pl.DataFrame(
        {
            "unit_id": [f"u{number}" for number in range(n)],
            "arm": np.where(arm == 0, "control", [f"arm{number}" for number in arm]),
            "revenue": rng.gamma(4.0, taste) * np.where(arm > 0, lift, 1.0),
            "revenue_before": rng.gamma(4.0, taste),
            "bought": rng.random(n) < 0.2,
            "impressions": impressions,
            "clicks": rng.binomial(impressions, 0.1),
            "country": rng.choice(["DE", "AT"], n),
        }
    )
