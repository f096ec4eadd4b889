"""Tests of the AdminService over a real channel."""

import json
import shutil
import socket
from collections.abc import Iterator

import grpc
import pytest

from recsys.promotion import decisions
from recsys.registry import Registry
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.loading import load_pipeline
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_models import FIRST, SECOND, two_models


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = two_models(tmp_path_factory.mktemp("models"))
    registry = Registry(found.registry)
    broken = shutil.copytree(registry.path(SECOND), registry.path("broken"))
    manifest = broken / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"{SECOND}"', '"broken"'))
    (broken / "ranker.txt").write_bytes(b"damaged")
    return found


@pytest.fixture(scope="module")
def servers(workspace: Workspace) -> Iterator[tuple[AdminServiceStub, Client]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        running_server(
            workspace.root, load_pipeline(workspace), clock="replay", admin_port=port, shadow_share=1.0
        ) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield AdminServiceStub(channel), client


def activate(
    admin: AdminServiceStub, version: str, part: pb.ModelPart.ValueType, **more: float | str
) -> pb.ActivateModelResponse:
    request = pb.ActivateModelRequest(version=version, part=part, **more)  # type: ignore[arg-type]
    return admin.ActivateModel(request, timeout=PATIENCE_SECONDS)


def states(admin: AdminServiceStub) -> dict[str, pb.Model]:
    listed = admin.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_SECONDS)
    return {model.version: model for model in listed.models}


def version(client: Client, user_id: str = "user-1") -> str:
    return client.recommend(RecommendRequest(user_id=user_id)).model_version


def test_an_activated_model_serves_when_the_call_returns_and_so_does_the_one_rolled_back_to(
    servers: tuple[AdminServiceStub, Client],
) -> None:
    admin, client = servers
    assert activate(admin, SECOND, pb.MODEL_PART_STABLE).stable_version == SECOND
    assert version(client) == SECOND
    assert list(states(admin)[FIRST].parts) == [pb.MODEL_PART_PREVIOUS]
    back = admin.RollbackModel(
        pb.RollbackModelRequest(expected_stable_version=SECOND), timeout=PATIENCE_SECONDS
    )
    assert (back.stable_version, version(client)) == (FIRST, FIRST)


def recorded(workspace: Workspace, about: str) -> dict[str, object]:
    """The last decision about a version, but for its time."""
    last = decisions(Registry(workspace.registry), about)[-1]
    return {name: last[name] for name in ("who", "part", "verdict", "reasons", "previous_version")}


def test_every_switch_is_recorded_with_its_reason(
    servers: tuple[AdminServiceStub, Client], workspace: Workspace
) -> None:
    admin, _ = servers
    activate(admin, SECOND, pb.MODEL_PART_STABLE, reason="it won the test")
    by_admin = {"who": "admin API", "part": "stable"}
    promoted = {"verdict": "promoted", "reasons": ["it won the test"], "previous_version": FIRST}
    assert recorded(workspace, SECOND) == by_admin | promoted
    admin.RollbackModel(pb.RollbackModelRequest(reason="sales fell"), timeout=PATIENCE_SECONDS)
    back = {"verdict": "rolled back", "reasons": ["sales fell"], "previous_version": SECOND}
    assert recorded(workspace, FIRST) == by_admin | back
    activate(admin, SECOND, pb.MODEL_PART_CANARY)
    activate(admin, "", pb.MODEL_PART_CANARY)
    cleared = {"part": "canary", "verdict": "cleared", "reasons": [], "previous_version": FIRST}
    assert recorded(workspace, SECOND) == by_admin | cleared
    with pytest.raises(grpc.RpcError) as caught:
        activate(admin, SECOND, pb.MODEL_PART_STABLE, reason="x" * 501)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError):
        activate(admin, "broken", pb.MODEL_PART_STABLE)
    refused = recorded(workspace, "broken")
    assert refused["verdict"] == "refused"
    assert "ranker.txt does not match" in str(refused["reasons"])


def test_a_model_that_does_not_verify_leaves_everything_as_it_is_and_says_why(
    servers: tuple[AdminServiceStub, Client], workspace: Workspace
) -> None:
    admin, client = servers
    before = Registry(workspace.registry).pointers()
    with pytest.raises(grpc.RpcError) as caught:
        activate(admin, "broken", pb.MODEL_PART_STABLE)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert Registry(workspace.registry).pointers() == before
    assert states(admin)["broken"].state == pb.MODEL_STATE_FAILED
    assert "ranker.txt does not match" in states(admin)["broken"].problem
    assert version(client) == before.stable


def test_an_unknown_model_and_a_stale_expectation_are_refused(
    servers: tuple[AdminServiceStub, Client],
) -> None:
    admin, _ = servers
    with pytest.raises(grpc.RpcError) as caught:
        activate(admin, "nowhere", pb.MODEL_PART_STABLE)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        activate(admin, SECOND, pb.MODEL_PART_STABLE, expected_stable_version="another")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as caught:
        activate(admin, SECOND, pb.MODEL_PART_CANARY, canary_percent=101.0)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_canary_answers_a_share_and_is_cleared(servers: tuple[AdminServiceStub, Client]) -> None:
    admin, client = servers
    activate(admin, SECOND, pb.MODEL_PART_CANARY, canary_percent=50.0)
    users = [f"user-{number}" for number in range(40)]
    first = [version(client, user) for user in users]
    assert set(first) == {FIRST, SECOND}
    assert [version(client, user) for user in users] == first
    activate(admin, "", pb.MODEL_PART_CANARY)
    assert {version(client, user) for user in users} == {FIRST}
    assert states(admin)[SECOND].state != pb.MODEL_STATE_LOADED or states(admin)[SECOND].parts


def test_a_shadow_is_compared_with_what_was_answered(servers: tuple[AdminServiceStub, Client]) -> None:
    admin, client = servers
    activate(admin, SECOND, pb.MODEL_PART_SHADOW)
    found = pb.Agreement()
    while not found.num_compared:
        assert version(client) == FIRST
        found = admin.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_SECONDS).shadow_agreement
    assert found.overlap_at_10 == 0.0  # the two sell different items
    assert not found.num_failed


def test_a_list_is_explained(servers: tuple[AdminServiceStub, Client]) -> None:
    admin, _ = servers
    user = admin.DiagnoseUser(pb.DiagnoseUserRequest(user_id="user-1"), timeout=PATIENCE_SECONDS)
    assert user.findings
    assert json.loads(user.report_json)["user_id"] == "user-1"
    item = admin.DiagnoseItem(pb.DiagnoseItemRequest(item_id=f"{FIRST}-kale"), timeout=PATIENCE_SECONDS)
    assert json.loads(item.report_json)["item_id"] == f"{FIRST}-kale"
    with pytest.raises(grpc.RpcError) as caught:
        admin.DiagnoseUser(pb.DiagnoseUserRequest(user_id="u", placement="attic"), timeout=PATIENCE_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
