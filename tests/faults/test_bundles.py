"""Damaged models are offered to servers: none ends one that serves, and none comes to serve."""

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from recsys.errors import BundleError
from recsys.fault_point import EXIT_CODE
from recsys.manifest import MANIFEST
from recsys.model_text import read_model_text
from recsys.registry import Registry
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from tests.conftest import Trained
from tests.faults.bundle_mutations import damage, pickled, ranker_features, ranker_kinds, refresh_manifest
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.processes import ServerProcess
from tests.serving.running import free_port

MUTANT = "mutant"
STALE, FORGED, SERVED = 800, 160, 2
"""Mutations with the old hashes, with hashes that fit, and with hashes that fit where a server tries them."""


@dataclass
class Offered:
    """A server, and a bundle beside the one that serves, to be damaged and offered again and again."""

    server: ServerProcess
    admin: AdminServiceStub
    client: Client
    registry: Registry
    whole: Path
    """The bundle as it was."""

    @property
    def mutant(self) -> Path:
        return self.registry.path(MUTANT)

    def offer(self, version: str = MUTANT) -> str:
        """Ask the server to activate a version; the status that it answers."""
        request = pb.ActivateModelRequest(version=version, part=pb.MODEL_PART_STABLE)
        try:
            self.admin.ActivateModel(request, timeout=300)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def serving(self) -> str:
        """The version that answers; the page is full."""
        answer = self.client.recommend(RecommendRequest(user_id="coffee-user1", page_size=5))
        assert len(answer.results) == 5
        return answer.model_version

    def restore(self) -> None:
        """Make the bundle whole again."""
        shutil.rmtree(self.mutant, ignore_errors=True)
        shutil.copytree(self.whole, self.mutant)

    def put(self, name: str, content: bytes, *, refresh: bool) -> None:
        """Replace or add one file of the bundle, whole but for that."""
        self.restore()
        path = self.mutant / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        if refresh:
            refresh_manifest(self.mutant)


@contextmanager
def offering(workspace: Workspace, version: str, serve: Serve, **env: str) -> Iterator[Offered]:
    """A server that lets models be activated, with a second bundle."""
    port, registry = free_port(), Registry(workspace.registry)
    whole = workspace.root / "whole"
    shutil.copytree(registry.path(version), whole, dirs_exist_ok=True)
    _rename(whole, MUTANT)
    with (
        serve(
            workspace, workspace.root, RECSYS_ADMIN_PORT=str(port), **({"RECSYS_TRY_MODELS": "true"} | env)
        ) as server,
        server.client() as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Offered(server, AdminServiceStub(channel), client, registry, whole)


@pytest.fixture(scope="module")
def offered(
    trained: Trained, serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Offered, str]]:
    workspace = copy_of(trained.workspace, tmp_path_factory.mktemp("offered"))
    with offering(workspace, trained.version, serve) as found:
        yield found, trained.version


@pytest.fixture(scope="module")
def try_one() -> Iterator[Callable[[Path], dict[str, Any]]]:
    """Tries a bundle as ``serving.model_trial`` does, in a fork."""
    command = [sys.executable, "-m", "tests.faults.trial_forge"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def ask(directory: Path) -> dict[str, Any]:
            orders.write(f"{directory}\n")
            orders.flush()
            return dict(json.loads(answers.readline()))

        yield ask
        orders.close()


def _rename(directory: Path, version: str) -> None:
    path = directory / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": version}))


def _files(directory: Path) -> list[str]:
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return [name for path in paths if (name := str(path.relative_to(directory))) != MANIFEST]


@pytest.mark.timeout(900)
def test_t15_no_damaged_ranker_serves_or_ends_the_server(
    offered: tuple[Offered, str], try_one: Callable[[Path], dict[str, Any]], figure: Note
) -> None:
    found, version = offered
    text = (found.whole / "ranker.txt").read_text(encoding="ascii")
    kinds, plausible, statuses = ranker_kinds(text), [], Counter[str]()
    for name, content in kinds.items():
        found.put("ranker.txt", content, refresh=False)
        statuses[found.offer()] += 1
        try:
            read_model_text(content)
            plausible.append(name)
        except BundleError:
            found.put("ranker.txt", content, refresh=True)
            statuses[found.offer()] += 1
    assert found.serving() == version
    ended = Counter[int]()
    for name in plausible:  # counts and gains that no score depends on, and values that no canary row meets
        found.put("ranker.txt", kinds[name], refresh=True)
        told = try_one(found.mutant)
        assert told["code"] in {0, 3}, (name, told)
        ended[told["code"]] += 1
    assert statuses == {"FAILED_PRECONDITION": statuses.total()}
    assert found.server.is_running()
    figure("T15", "kinds of damage to a ranker", len(kinds), "", ">= 60")
    figure("T15", "of them whole to the structural check, and tried", len(plausible), "", "")
    figure("T15", "of those refused by the trial", ended[3], "", "")


@pytest.mark.timeout(1800)
def test_t15_a_thousand_damaged_bundles_leave_the_old_model_serving(
    offered: tuple[Offered, str], try_one: Callable[[Path], dict[str, Any]], figure: Note
) -> None:
    found, version = offered
    rng, files = random.Random(15), _files(found.whole)
    for _ in range(STALE):
        found.restore()
        name = damage(rng, found.mutant, files)
        assert found.offer() == "FAILED_PRECONDITION", name
    ended, words = Counter[int](), Counter[str]()
    for number in range(FORGED):
        found.restore()
        name = damage(rng, found.mutant, [*files, MANIFEST])
        if name != MANIFEST:
            refresh_manifest(found.mutant)
        told = try_one(found.mutant)
        ended[told["code"]] += 1
        words[f"{name}: {told['words'][:60]}"] += 1
        assert told["code"] >= 0, (number, name, told)  # nothing crashes or hangs even the trial
        assert told["code"] in {0, 3}, (number, name, told)
    for _ in range(SERVED):
        found.restore()
        damage(rng, found.mutant, ["encoder/model.safetensors"])
        refresh_manifest(found.mutant)
        told = try_one(found.mutant)
        assert (found.offer() == "OK") == (told["code"] == 0)
        if told["code"] == 0:
            assert found.serving() == MUTANT
            assert found.offer(version) == "OK"
    assert found.serving() == version
    assert found.server.is_running()
    figure("T15", "damaged bundles offered", STALE + FORGED + SERVED, "", ">= 1,000 with the kinds above")
    figure("T15", "crashes of the serving process", 0, "", "0")
    figure("T15", "with forged hashes: refused", ended[3], "", "")
    figure(
        "T15", "with forged hashes: whole, finite and full lists, only a signature tells", ended[0], "", ""
    )


@pytest.mark.timeout(900)
def test_t16_a_ranker_over_other_features_or_with_nan_is_refused(
    offered: tuple[Offered, str], figure: Note
) -> None:
    found, version = offered
    text = (found.whole / "ranker.txt").read_text(encoding="ascii")
    line = next(one for one in text.split("\n") if one.startswith("leaf_value="))
    nan = text.replace(line, " ".join(["leaf_value=nan", *line.split(" ")[1:]]), 1)
    offers = {"NaN leaf": nan.encode(), **dict(ranker_features(text))}
    for name, content in offers.items():
        for refresh in (False, True):
            found.put("ranker.txt", content, refresh=refresh)
            assert found.offer() == "FAILED_PRECONDITION", name
    assert found.serving() == version
    figure("T16", "NaN leaves and wrong features refused", len(offers), "", "all")


@pytest.mark.timeout(900)
def test_t17_no_pickle_is_read_and_no_encoder_of_another_shape_serves(
    offered: tuple[Offered, str], try_one: Callable[[Path], dict[str, Any]], tmp_path: Path, figure: Note
) -> None:
    found, version = offered
    trace = tmp_path / "executed"
    for name in ("encoder/pytorch_model.bin", "encoder/model.pt", "towers.pkl", "ranker.ckpt"):
        for refresh in (False, True):
            found.put(name, pickled(trace), refresh=refresh)
            assert found.offer() == "FAILED_PRECONDITION"
    for name in ("encoder/model.safetensors", "encoder/towers.safetensors", "items/vectors.safetensors"):
        found.put(name, pickled(trace), refresh=True)
        assert try_one(found.mutant)["code"] == 3
    towers = (found.whole / "encoder" / "towers.safetensors").read_bytes()
    for other in (towers, (found.whole / "items" / "words.safetensors").read_bytes()):
        found.put("encoder/model.safetensors", other, refresh=True)
        assert try_one(found.mutant)["code"] == 3
    assert found.offer() == "FAILED_PRECONDITION"  # as the trial said of the last one
    assert not trace.exists()
    assert found.serving() == version
    figure("T17", "pickles executed", int(trace.exists()), "", "0")


@pytest.mark.timeout(600)
def test_t19_a_swap_that_is_killed_anywhere_leaves_the_old_model_or_the_new(
    trained: Trained, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    ends, now = Counter[str](), ""
    points = ("model-loaded", "atomic-written", "atomic-renamed", "model-swapped")
    for point in points:
        workspace = copy_of(trained.workspace, tmp_path / point)
        with offering(
            workspace, trained.version, serve, RECSYS_FAULT=f"{point}:1", RECSYS_TRY_MODELS="false"
        ) as found:
            found.restore()
            assert found.offer() in {"UNAVAILABLE", "CANCELLED"}
            assert found.server.wait() == EXIT_CODE
        now = Registry(workspace.registry).pointers().stable or ""
        ends[now] += 1
        with serve(workspace, tmp_path / f"{point}-again") as server, server.client() as client:
            answer = client.recommend(RecommendRequest(user_id="coffee-user1", page_size=5))
            assert answer.model_version == now
            assert len(answer.results) == 5
    assert set(ends) == {trained.version, MUTANT}
    figure("T19", "points of a swap at which the server was killed", len(points), "", "every")
    figure("T19", "starts after it that serve the old or the new model", ends.total(), "", "all")
