"""``recsys train --engine ray``, from the shop whose right answers are known to a server's answers."""

import json
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from recsys.cli import run
from recsys.registry import Registry
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client
from serving.loading import load_pipeline, load_states
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.tiny_encoder import make_tiny_encoder
from tests.tiny_shop import GROUP_SIZE, ingest_shop, tiny_shop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
CONFIG = """
[encoder]
model = "{model}"
dimension = 16
max_tokens = 16
history_length = 20
batch_size = 96
num_head_steps = 150
num_tuning_steps = 10
validate_every = 50
learning_rate = 1e-2

[candidates]
own = 50
text = 50
co_occurrence = 50
popular = 20
trending = 20
similar = 4
neighbours = 10

[ranker]
label_window = 1209600  # 14 days
num_windows = 3
num_visits = 40
num_unknown = 0
num_negatives = 40
num_trees = 40
num_leaves = 7
learning_rate = 0.2
min_data_in_leaf = 10
patience = 10
"""


def test_two_nodes_train_a_bundle_that_serves_the_right_answers(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tiny_shop()
    workspace = ingest_shop(tmp_path, shop.items, shop.history)
    encoder = make_tiny_encoder(tmp_path / "encoder", shop.items["title"].to_list())
    workspace.config.write_text(CONFIG.format(model=encoder))
    capsys.readouterr()
    arguments = ("train", "--engine=ray", f"--workspace={workspace.root}", "--json")
    assert run(arguments, list(entry_points(group="recsys.commands"))) == 0
    printed = capsys.readouterr().out
    details = json.loads(printed[printed.index("{\n") :])["details"]
    assert details["encoder"]["members"] == details["rankers"]["all"]["members"] == len(cluster.worker_nodes)
    assert details["encoder"]["resumed_step"] == details["rankers"]["all"]["resumed_trees"] == 0

    registry = Registry(workspace.registry)
    stable = registry.pointers().stable
    assert stable is not None
    models = [path.read_text() for path in registry.path(stable).rglob("*.txt")]
    assert models
    assert not any(re.search(r"\[machines: [^]]", model) for model in models)
    assert not list(workspace.root.rglob("*.ckpt"))
    assert not list(workspace.root.rglob("*.pkl"))

    pipeline = load_pipeline(workspace)
    states = load_states(workspace, pipeline)
    with (
        running_server(workspace.root, pipeline, states, clock="replay") as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        for user_id, withheld in shop.withheld.items():
            found = [item.item_id for item in client.recommend(RecommendRequest(user_id=user_id)).results]
            assert set(found[: GROUP_SIZE - 1]) == set(shop.regular[user_id])
            assert found[GROUP_SIZE - 1] == withheld
