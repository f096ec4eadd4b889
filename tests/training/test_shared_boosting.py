"""What one process does of it; several of them are in tests/distributed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.runner import Member
from tests.training.test_ranker_fit import CONFIG, decisions
from training.ranker_fit import fit_ranker, search_num_trees
from training.ranker_shares import without_network
from training.shared_boosting import SharedBoosting

ALONE = Member(rank=0, size=1, num_threads=1, network={})


class LostError(Exception):
    """The process is gone."""


def stop_after(num_rounds: int) -> Callable[[int, float], None]:
    def stop(round_: int, _: float) -> None:
        if round_ == num_rounds:
            raise LostError

    return stop


def test_a_search_that_was_lost_goes_on_with_its_trees_and_its_whole_curve(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"ranker": CONFIG.ranker.model_copy(update={"patience": 30})})
    train, last = decisions(0), decisions(1)
    seen: list[tuple[int, float]] = []
    with pytest.raises(LostError):
        search_num_trees(train, last, config, stop_after(13), boosting=SharedBoosting(ALONE, tmp_path))
    again = SharedBoosting(ALONE, tmp_path)
    found = search_num_trees(train, last, config, lambda *measured: seen.append(measured), boosting=again)
    assert again.resumed_trees == 10
    assert [round_ for round_, _ in seen] == list(range(1, len(seen) + 1))
    assert found.curve == [score for _, score in seen]
    straight = search_num_trees(train, last, config)
    assert found.curve[:10] == straight.curve[:10]
    assert max(found.curve) == pytest.approx(max(straight.curve), abs=0.005)


@pytest.mark.parametrize("plan", ["whole", "anchored"])
def test_a_fit_that_had_ended_is_found_as_it_was(tmp_path: Path, plan: str) -> None:
    train, last = decisions(0), decisions(1)
    first, seen = fit_ranker(train, last, CONFIG, plans=[plan], boosting=SharedBoosting(ALONE, tmp_path))
    again = SharedBoosting(ALONE, tmp_path)
    second, same = fit_ranker(train, last, CONFIG, plans=[plan], boosting=again)
    assert seen == same
    first.save(tmp_path / "first.txt")
    second.save(tmp_path / "second.txt")
    assert (tmp_path / "first.txt").read_text() == (tmp_path / "second.txt").read_text()
    forests = [json.loads(path.read_text()) for path in tmp_path.glob("forest-*.json")]
    assert again.resumed_trees == sum(len(forest["rounds"]) for forest in forests)


def test_a_published_model_says_nothing_of_the_network() -> None:
    parameters = (
        "[machines: 10.0.0.1:4321]\n[local_listen_port: 4321]\n[num_machines: 2]\n[tree_learner: data]\n"
    )
    assert without_network(f"{parameters}[num_leaves: 7]\n") == "[tree_learner: serial]\n[num_leaves: 7]\n"
