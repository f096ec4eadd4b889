"""A ranker that two nodes fit together is as good as one that is fitted here, and always the same."""

from pathlib import Path
from threading import Thread
from time import sleep

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from features.registry import names
from recsys.config import Config, RankerConfig
from recsys.ranker import Ranker
from recsys.ray_runner import RayRunner
from training.decisions import Decisions
from training.ranker_fit import fit_ranker
from training.ranker_shares import fit_ranker_together

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
CONFIG = Config(
    ranker=RankerConfig(num_trees=60, num_leaves=7, min_data_in_leaf=5, patience=20, learning_rate=0.1)
)
NAMES = names(CONFIG.state)
_AT = 10


def decisions(seed: int, num_queries: int = 400, size: int = 20) -> Decisions:
    """Queries in which what three features say together, with noise, was bought or viewed."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(num_queries * size, len(NAMES))).astype(np.float32)
    merit = matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + random.normal(scale=0.5, size=len(matrix))
    rank = np.argsort(np.argsort(-merit.reshape(num_queries, size), axis=1), axis=1).ravel()
    return Decisions(
        matrix=matrix,
        labels=np.where(rank < 2, 4, np.where(rank < 4, 1, 0)).astype(np.int64),
        positions=np.tile(np.arange(size), num_queries),
        groups=np.full(num_queries, size),
        users=[f"user-{query}" for query in range(num_queries)],
    )


def ndcg(ranker: Ranker, given: Decisions) -> float:
    """NDCG@10, each query of the same size, gains as the labels."""
    size = int(given.groups[0])
    labels = given.labels.reshape(-1, size)
    order = np.argsort(-ranker.scores(given.matrix).reshape(-1, size), axis=1, kind="stable")
    discount = 1 / np.log2(np.arange(2, _AT + 2))
    found = np.take_along_axis(labels, order, 1)[:, :_AT] @ discount
    best = -np.sort(-labels, axis=1)[:, :_AT] @ discount
    return float((found / best).mean())


def saved(ranker: Ranker, path: Path) -> str:
    ranker.save(path)
    return path.read_text()


def test_two_nodes_fit_the_ranker_as_well_as_one_process_and_the_same_one_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    train, last, unseen = decisions(0), decisions(1), decisions(2)
    here, _ = fit_ranker(train, last, CONFIG)
    runner = RayRunner()
    first, seen = fit_ranker_together(runner, train, last, CONFIG, tmp_path)
    second, _ = fit_ranker_together(runner, train, last, CONFIG, tmp_path)
    assert seen["members"] == len(cluster.worker_nodes) == 2
    assert seen["resumed_trees"] == 0
    assert ndcg(first, unseen) == pytest.approx(ndcg(here, unseen), abs=0.005)
    text = saved(first, tmp_path / "first.txt")
    assert text == saved(second, tmp_path / "second.txt")
    assert "machines" not in text
    assert not list(tmp_path.glob("ranker-*"))


def test_the_node_that_is_left_goes_on_with_the_trees_when_the_other_is_lost(
    cluster: Cluster, tmp_path: Path
) -> None:
    many = {"num_trees": 800, "patience": 800, "learning_rate": 0.01}
    config = CONFIG.model_copy(update={"ranker": CONFIG.ranker.model_copy(update=many)})
    train, last, unseen = decisions(0), decisions(1), decisions(2)

    def lose_a_node() -> None:
        while not list(tmp_path.glob("ranker-*/forest-0.json")):
            sleep(0.05)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    Thread(target=lose_a_node, daemon=True).start()
    found, seen = fit_ranker_together(RayRunner(), train, last, config, tmp_path)
    assert len(cluster.worker_nodes) == seen["members"] == 1
    assert seen["resumed_trees"] >= 10
    assert [round_ for round_, _ in seen["curve"]] == list(range(1, 801))
    here, _ = fit_ranker(train, last, config)
    assert ndcg(found, unseen) == pytest.approx(ndcg(here, unseen), abs=0.005)
