import numpy as np
import polars as pl

from recsys.experiments.reassignment import false_positives
from tests.recsys.experiments.small_experiment import parsed, toml


def units(size: int) -> pl.DataFrame:
    revenue = np.random.default_rng(3).poisson(1.5, size).astype(float)
    return pl.DataFrame({"unit_id": [f"u{number}" for number in range(size)], "revenue": revenue})


def test_other_salts_find_as_much_as_alpha_lets_them() -> None:
    found = false_positives(parsed(toml()), units(600), runs=1000)
    assert found.low <= 0.05 <= found.high


def test_every_unit_takes_part_whatever_layer_coverage_and_targeting_were() -> None:
    whole = parsed(toml(top='layer = "l"'))
    narrow = parsed(
        toml(top='layer = "l"\nlayer_range = [0.0, 0.1]\ncoverage = 0.1\ntargeting = "exists(country)"')
    )
    assert false_positives(narrow, units(300), runs=50) == false_positives(whole, units(300), runs=50)
