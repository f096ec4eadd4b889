"""The whole loop on a real server: an effect that was planted is found, and none where there is none."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import grpc
import pytest

from recsys.cli import run
from recsys.event_log import EventLog
from recsys.experiments.registry import ExperimentRegistry
from recsys.v1.experiment_service_pb2 import ListExperimentsRequest
from recsys.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from recsys.workspace import Workspace
from serving.event import Event, event_frame
from tests.recsys.experiments.small_experiment import toml
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, NOON

COMMANDS = [EntryPoint("experiment", "recsys.experiments.commands:experiment", "recsys.commands")]
USERS = 100


def definition(key: str) -> str:
    return toml(key).replace('name = "revenue"', 'name = "items"').replace('"revenue"', '"purchases"')


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose users all bought everything equally often, so that only places matter."""
    root = tmp_path_factory.mktemp("shop")
    bought = [
        Event(f"{user}-{item}-{time}", "purchase", f"user-{user}", item, NOON + time, NOON + time, price=2.0)
        for user in range(USERS)
        for item in ITEM_IDS
        for time in range(7)
    ]
    EventLog(Workspace(root).events).append(event_frame(bought), "history")
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with running_server(root, compact_every=timedelta(seconds=0.5)) as address:
        yield address


def start(root: Path, key: str, address: str | None = None) -> None:
    """Start an experiment alone, and wait until a server knows of it."""
    registry = ExperimentRegistry(Workspace(root))
    for before in registry.all():
        if before.is_running:
            registry.stop(before.experiment.key)
    registry.start(definition(key), "d.toml")
    (root / f"{key}.toml").write_text(definition(key), encoding="utf-8")
    if address is not None:
        with grpc.insecure_channel(address) as channel:
            stub, until = ExperimentServiceStub(channel), time.monotonic() + PATIENCE_SECONDS
            while [each.key for each in stub.ListExperiments(ListExperimentsRequest()).experiments] != [key]:
                assert time.monotonic() < until, "the server does not take the experiment over"
                time.sleep(0.05)


def simulate(
    root: Path, capsys: pytest.CaptureFixture[str], key: str, address: str, *words: str, code: int = 0
) -> Any:  # JSON
    asked = ["--definition", str(root / f"{key}.toml"), "--shop", address, "--workspace", str(root), *words]
    assert run(["experiment", "simulate", *asked], COMMANDS) == code
    said = capsys.readouterr()
    return said.err if code else json.loads(said.out) if "--json" in words else said.out


def test_an_effect_that_was_planted_is_found(
    root: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(root, "planted", address)
    options = ("--effect", "1", "--visits", "2", "--runs", "200", "--json")
    done = simulate(root, capsys, "planted", address, *options)
    [row] = done["metrics"]
    assert row["planted"]["relative"] == pytest.approx(1.0)
    assert row["inside"]
    assert row["p_value"] < 0.001
    assert sum(done["units"].values()) == USERS
    assert done["lists"] + done["lists_without_arm"] == 2 * USERS
    assert done["verdict"] == "continue"  # fewer than 200 units in an arm decide nothing
    assert done["events"] > done["lists"] * len(ITEM_IDS) + done["purchases"]
    assert done["false_positives"]["runs"] == 200


def test_nothing_is_found_where_the_arms_are_alike(
    root: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(root, "aa", address)
    said = simulate(root, capsys, "aa", address, "--visits", "2", "--runs", "100", "--seed", "1")
    assert "+0.00%" in said
    assert "yes" in said
    assert "verdict: continue" in said
    again = simulate(root, capsys, "aa", address, code=1)
    assert "nobody has met yet" in again


def test_an_experiment_that_is_over_is_told_to_be_started(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(root, "over")
    ExperimentRegistry(Workspace(root)).stop("over")
    assert "is stopped; start it" in simulate(root, capsys, "over", "127.0.0.1:1", code=1)


def test_a_server_that_is_not_there_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(root, "unmet")
    assert "see that `recsys serve` runs there" in simulate(root, capsys, "unmet", "127.0.0.1:1", code=1)
