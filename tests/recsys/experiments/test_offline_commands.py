"""The verbs through the command line; what they compute is tested with its module."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.cli import run

EXPERIMENT = EntryPoint("experiment", "recsys.experiments.commands:experiment", "recsys.commands")
FIXED = {
    *("ips", "clipped_ips", "snips", "dm", "dr", "effective_sample_size", "max_weight", "mean_weight"),
    *("coverage", "verdict", "reasons"),
}


def call(*words: str) -> int:
    return run(["experiment", *words], [EXPERIMENT])


@pytest.fixture
def log(tmp_path: Path) -> str:
    arm = np.random.default_rng(0).random(2_000) < 0.5
    frame = pl.DataFrame(
        {"reward": arm, "logging_propensity": 0.5, "target_propensity": np.where(arm, 0.6, 0.4)}
    )
    frame.write_parquet(tmp_path / "log.parquet")
    return str(tmp_path / "log.parquet")


def test_a_log_gives_one_document_with_the_agreed_keys(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate-offline", "--log", log, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() >= FIXED
    assert (document["verdict"], document["dm"], document["dr"]) == ("ok", None, None)
    assert document["snips"]["low"] < 0.6 < document["snips"]["high"]


def test_a_log_is_told_in_words_and_a_refusal_is_a_result(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.parquet"
    pl.read_parquet(log).head(50).write_parquet(few)
    assert call("evaluate-offline", "--log", str(few)) == 0
    told = capsys.readouterr().out
    assert "verdict: refused" in told
    assert "needs a reward model" in told


def test_a_log_without_propensities_ends_with_one_line(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.parquet"
    pl.read_parquet(log).select("reward").write_parquet(bare)
    assert call("evaluate-offline", "--log", str(bare), "--json") == 1
    assert "lacks logging_propensity and target_propensity" in capsys.readouterr().err


def test_two_rankings_become_one_list_that_repeats_by_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, items in (("a", "xyz"), ("b", "zyw")):
        (tmp_path / f"{name}.json").write_text(json.dumps(list(items)), encoding="utf-8")
    words = ("interleave", "--a", str(tmp_path / "a.json"), "--b", str(tmp_path / "b.json"), "--seed", "7")
    documents = []
    for _ in range(2):
        assert call(*words, "--json") == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert sorted(documents[0]["items"]) == ["w", "x", "y", "z"]
    assert set(documents[0]["teams"][:2]) == {"a", "b"}
    assert call(*words) == 0


def test_a_preference_of_what_never_started_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("preference", "new-model", "--workspace", str(tmp_path)) == 1
    assert "there is no experiment 'new-model'" in capsys.readouterr().err
