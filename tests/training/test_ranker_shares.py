"""What is divided and what is asked of the processes; that several agree is shown in tests/distributed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.errors import RecsysError
from recsys.runner import Member, Network
from tests.training.test_ranker_fit import CONFIG, decisions
from training.ranker_fit import fit_ranker
from training.ranker_shares import fit_ranker_together

LEFT = Member(rank=0, size=1, num_threads=1, network={})


class OneIsLeft:
    """A group of two that has lost one."""

    num_shards, num_members = 2, 2

    def __init__(self, tamper: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        self.num_fits, self._tamper = 0, tamper

    def run(self, task: Callable[[Any], Any], shards: Sequence[Any], _label: str) -> list[Any]:
        return [task(shard) for shard in shards]

    def together(self, task: Callable[[Member], None], _network: Network, directory: Path) -> None:
        self.num_fits += 1
        task(LEFT)
        path = directory / "member-0.json"
        report = json.loads(path.read_text())
        self._tamper(report)
        path.write_text(json.dumps(report))


def test_shares_hold_every_query_once(tmp_path: Path) -> None:
    train, last, unseen = decisions(0, 200), decisions(1), decisions(2)
    found, seen = fit_ranker_together(OneIsLeft(), train, last, CONFIG, tmp_path)
    assert seen["members"] == 1
    here, _ = fit_ranker(train, last, CONFIG)
    agree = np.corrcoef(found.scores(unseen.matrix), here.scores(unseen.matrix))[0, 1]
    assert agree > 0.9
    assert list(tmp_path.iterdir()) == []


def test_a_ranker_that_did_not_see_every_query_is_refused(tmp_path: Path) -> None:
    group = OneIsLeft(lambda report: report.update(num_queries=report["num_queries"] - 1))
    with pytest.raises(RecsysError, match="279 queries, there are 280"):
        fit_ranker_together(group, decisions(0, 200), decisions(1), CONFIG, tmp_path)


def test_what_is_too_little_for_shares_is_fitted_here(tmp_path: Path) -> None:
    train, last, group = decisions(0, 200), decisions(1), OneIsLeft()
    few = replace(train, labels=np.where(np.arange(len(train.labels)) < 12, train.labels, 0))
    biased = CONFIG.model_copy(update={"ranker": CONFIG.ranker.model_copy(update={"position": "bias"})})
    placed = replace(train, places=train.positions), replace(last, places=last.positions)
    fit_ranker_together(group, few, last, CONFIG, tmp_path)  # all positives in one share
    fit_ranker_together(group, decisions(0), last, CONFIG, tmp_path)
    fit_ranker_together(group, *placed, biased, tmp_path, plans=["unbiased"])
    assert group.num_fits == 0
