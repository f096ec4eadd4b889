import asyncio
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import redis

from recsys.cli import run
from recsys.errors import DataError
from recsys.mapped import mapped_arrays
from recsys.registry import Registry
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.capacity import Capacity, measure_capacity, store_bytes
from serving.embedded_store import embedded_store
from serving.footprint import Footprint, Inventory
from serving.loading import load_pipeline, load_states
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.conftest import Trained

CAPACITY = [EntryPoint("capacity", "serving.capacity_command:capacity", "recsys.commands")]


@pytest.fixture(scope="module")
def found(trained: Trained) -> Capacity:
    return measure_capacity(trained.workspace)


def test_what_is_shared_is_what_lies_in_mapped_files(found: Capacity, trained: Trained) -> None:
    bundle = Registry(trained.workspace.registry).stable()
    mapped = [path for path in bundle.rglob("*.safetensors") if path.parent.name != "encoder"]
    expected = sum(array.nbytes for path in mapped for array in mapped_arrays(path).values())
    assert sum(part.shared for part in found.parts.values()) == pytest.approx(expected, rel=0.2)


def test_the_catalogue_is_in_every_process_and_the_vectors_are_not(found: Capacity, trained: Trained) -> None:
    ids = trained.shop.items["item_id"].to_list()
    assert found.num_items == len(ids)
    assert found.parts["catalogue"].private > sum(len(item_id) for item_id in ids)
    vectors = load_pipeline(trained.workspace).bundle.parts.index.vectors
    assert found.parts["item vectors"].shared > vectors.nbytes > found.parts["item vectors"].private
    assert found.worker > 0


def test_users_take_what_a_store_grows_by(found: Capacity, trained: Trained) -> None:
    pipeline = load_pipeline(trained.workspace)
    states = dict(load_states(trained.workspace, pipeline))
    assert found.num_users == len(states)
    many = [(f"{user_id}-{i}", state) for i in range(40) for user_id, state in states.items()]
    with embedded_store() as url, redis.Redis.from_url(url) as client:

        async def fill(chosen: list[tuple[str, UserState]]) -> int:
            store = StateStore(connect(url, 10_000), "shop", pipeline.config.state)
            await store.load(chosen, "all")
            await store.close()
            return int(client.info("memory")["used_memory"])

        few = asyncio.run(fill(many[:1]))
        grown = asyncio.run(fill(many)) - few
    assert found.user == pytest.approx(grown / (len(many) - 1), rel=0.2)


def test_of_no_users_nothing_is_known(trained: Trained) -> None:
    assert store_bytes([], trained.config.state)[0] == 0


def test_workers_share_what_is_shared() -> None:
    parts = {"vectors": Footprint(shared=4_000, private=500), "ids": Footprint(private=500)}
    capacity = Capacity(
        "v1", 1_000, parts, program=9_000, worker=70_000, num_users=3, user=10.0, num_all_users=5
    )
    assert capacity.shared_per_million_items == 4e6
    assert capacity.private_per_million_items == 1e6
    assert capacity.of(2_000, 100, 3) == 3 * (70_000 + 2_000) + 9_000 + 8_000 + 1_000


def test_an_array_counts_once_where_it_is_first_met() -> None:
    whole, kept = np.zeros(1_000), Inventory()
    kept.add("first", [whole[:10], whole])
    kept.add("second", {"again": whole[5:]})
    assert kept.parts["first"].private == pytest.approx(whole.nbytes, abs=200)
    assert kept.parts["second"].private < whole.nbytes / 2


def test_the_command_says_what_was_asked_for(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["capacity", "--workspace", str(trained.workspace.root), "--items", "1000000", "--workers", "2"]
    assert run([*words, "--users", "1000000", "--json"], CAPACITY) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["asked"] == {"items": 1_000_000, "users": 1_000_000, "workers": 2}
    expected = (
        2 * (printed["worker_bytes"] + printed["private_bytes_per_million_items"])
        + printed["program_bytes"]
        + printed["shared_bytes_per_million_items"]
        + printed["store_bytes_per_million_users"]
    )
    assert printed["total_bytes"] == pytest.approx(expected, abs=10)
    assert run(words, CAPACITY) == 0
    table = capsys.readouterr().out
    assert "per million users" in table
    assert "120 users" in table


def test_a_machine_with_models_alone_is_told_to_pull_the_data(trained: Trained, tmp_path: Path) -> None:
    alone = Workspace(tmp_path)
    alone.registry.symlink_to(trained.workspace.registry)
    with pytest.raises(DataError, match="recsys remote pull URL --only data"):
        measure_capacity(alone)
