import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.errors import ConfigError, DataError
from recsys.experiments.offline_report import evaluate_offline
from recsys.experiments.policy_log import checked, slate_log

GOOD = {"reward": [1.0, 0.0], "logging_propensity": [0.5, 0.25], "target_propensity": [0.25, 0.5]}


def log(num_rows: int = 4_000) -> pl.DataFrame:
    random = np.random.default_rng(0)
    arm = random.random(num_rows) < 0.5
    return pl.DataFrame(
        {
            "reward": (random.random(num_rows) < np.where(arm, 0.3, 0.1)).astype(int),
            "logging_propensity": 0.5,
            "target_propensity": np.where(arm, 0.8, 0.2),
            "user_id": random.integers(800, size=num_rows),
        }
    )


def test_a_good_log_gives_a_verdict_and_intervals_around_the_truth(tmp_path: Path) -> None:
    log().write_parquet(tmp_path / "log.parquet")
    report = evaluate_offline(tmp_path / "log.parquet")
    document = json.loads(report.to_json())
    assert (document["verdict"], document["reasons"]) == ("ok", [])
    assert document["dm"] is document["dr"] is document["slate"] is None
    assert document["users"] == 800 - len(set(range(800)) - set(log()["user_id"]))
    for name in ("ips", "clipped_ips", "snips"):
        assert document[name]["low"] < 0.26 < document[name]["high"]
        assert document[name]["high"] - document[name]["low"] < 0.06


def test_a_reward_model_fills_in_what_needs_one() -> None:
    with_model = log().with_columns(
        q_logged=pl.when(pl.col("target_propensity") > 0.5).then(0.3).otherwise(0.1), q_target=0.26
    )
    report = evaluate_offline(with_model)
    dm, dr, ips = (report.estimates[name] for name in ("dm", "dr", "ips"))
    assert dm is not None
    assert dr is not None
    assert ips is not None
    assert dm.estimate == pytest.approx(0.26)
    assert dr.high - dr.low < ips.high - ips.low


def test_a_log_that_cannot_carry_a_verdict_is_a_result() -> None:
    report = evaluate_offline(log(100))
    assert report.verdict == "refused"
    assert "effective sample size" in report.reasons[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logging_propensity": None}, "lacks logging_propensity"),
        ({"logging_propensity": [0.0, 0.5]}, "logging_propensity in (0, 1], 1 rows are outside, such as 0.0"),
        ({"logging_propensity": [1.5, 0.5]}, "such as 1.5"),
        ({"target_propensity": [-0.1, 0.5]}, "target_propensity in [0, 1]"),
        ({"reward": [float("nan"), 0.0]}, "finite numbers in reward, 1 of 2"),
        ({"reward": [None, 0.0]}, "finite numbers in reward"),
        ({"reward": ["a", "b"]}, "expected numbers in reward"),
        ({"q_logged": [0.1, 0.1]}, "q_logged and q_target or none"),
        ({"user_id": ["a", None]}, "user_id is missing in 1 rows"),
        ({"logging_propensity": [1e-320, 0.5], "target_propensity": [1.0, 0.5]}, "so small"),
        ({"action": ["x", "y"]}, "got only action"),
        (
            {"action": ["x", "y"], "target_actions": [["x"], ["x"]], "target_propensities": [[1.0], [0.5]]},
            "1 rows have not",
        ),
        ({"context_age": ["old", "new"]}, "numbers in context_age"),
        ({"slate_id": ["a", "a"]}, "slate_id and position or none"),
        ({"slate_id": ["a", "a"], "position": [1, 0]}, "sort the log"),
        ({"slate_id": ["a", "a"], "position": [1, 2]}, "sort the log"),
        ({"slate_id": ["a", None], "position": [0, 0]}, "in every row"),
        ({"slate_id": ["a", "a"], "position": [0, 1], "user_id": ["x", "y"]}, "one user_id per list"),
    ],
)
def test_what_is_wrong_with_a_log_is_named(change: dict[str, list[object] | None], words: str) -> None:
    columns = {name: values for name, values in (GOOD | change).items() if values is not None}
    with pytest.raises(DataError) as caught:
        evaluate_offline(pl.DataFrame(columns))
    assert words in str(caught.value)


def test_rows_of_a_list_must_lie_together() -> None:
    frame = pl.DataFrame({name: values * 2 for name, values in GOOD.items()})
    with pytest.raises(DataError, match="sort the log"):
        checked(
            frame.with_columns(slate_id=pl.Series(["a", "b", "a", "b"]), position=pl.Series([0, 0, 1, 1]))
        )


def test_an_empty_log_a_missing_file_and_a_clip_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        evaluate_offline(pl.DataFrame(GOOD).clear())
    with pytest.raises(DataError, match="cannot read"):
        evaluate_offline(tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match="above 0"):
        evaluate_offline(pl.DataFrame(GOOD), clip=0.0)


def test_a_log_of_lists_is_read_slot_by_slot_and_list_by_list() -> None:
    frame = pl.DataFrame(
        {
            "slate_id": ["a", "a", "b"],
            "position": [0, 1, 0],
            "reward": [1.0, 0.0, 2.0],
            "logging_propensity": [0.5, 0.5, 0.25],
            "target_propensity": [0.25, 1.0, 0.5],
        }
    )
    assert slate_log(checked(frame)).ratio.tolist() == [[0.5, 2.0], [2.0, 1.0]]
    report = evaluate_offline(frame)
    estimates = {name: found.estimate for name, found in report.slate.items() if found is not None}
    assert estimates == pytest.approx(
        {"standard": 2.5, "reward_interaction": 2.25}
    )  # (1 + 4) / 2, (.5 + 4) / 2
    ips = report.estimates["ips"]
    assert ips is not None
    assert ips.estimate == pytest.approx(2.5)
    assert report.num_rows == 2
