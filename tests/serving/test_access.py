"""Tests of tokens, roles, tenants and quotas, over a real channel."""

import os
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from recsys.cli import run
from recsys.errors import ConfigError
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving import access
from serving.access import Access, Bucket
from serving.client import Client, Connection
from serving.errors import ForbiddenError, UnauthenticatedError
from serving.tokens import digest, new_token, read_tokens
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.test_server import SERVING, health_of, reflected_services

READER, WRITER, STRANGER, BUSY, OLD = (new_token() for _ in range(5))
RECOMMEND = "/recsys.v1.RecommendationService/Recommend"
TOKENS = EntryPoint("tokens", "serving.tokens_command:tokens", "recsys.commands")


def entry(name: str, token: str, roles: str, more: str = "", tenant: str = "default") -> str:
    return (
        f'[[tokens]]\nname = "{name}"\nsha256 = "{digest(token)}"\n'
        f'tenant = "{tenant}"\nroles = [{roles}]\n{more}\n'
    )


FILE = "".join(
    [
        entry("reader", READER, '"read"'),
        entry("writer", WRITER, '"read", "write"'),
        entry("stranger", STRANGER, '"read"', tenant="elsewhere"),
        entry("old", OLD, '"read"', "expires = 2020-01-01T00:00:00Z"),
        entry("busy", BUSY, '"read"', "requests_per_second = 0.001\nburst = 2"),
    ]
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("workspace")
    path = root / "tokens.toml"
    path.write_text(FILE)
    with running_server(root, tokens_file=path, reflection=True) as where:
        yield where


def client_of(address: str, token: str | None) -> Client:
    return Client(Connection(address, PATIENCE_SECONDS, token))


def refusal(address: str, token: str | None) -> grpc.RpcError:
    with client_of(address, token) as client, pytest.raises(grpc.RpcError) as caught:
        client.recommend(RecommendRequest(user_id="u"))
    return caught.value


def test_a_token_opens_what_its_roles_name(address: str) -> None:
    event = Event(event_type="view", user_id="u", item_id="eggs")
    with client_of(address, READER) as reader, client_of(address, WRITER) as writer:
        assert reader.recommend(RecommendRequest(user_id="u")).results
        assert writer.record_events([event])
        with pytest.raises(grpc.RpcError) as caught:
            reader.record_events([event])
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "token",
    [None, "", "guess", READER[:-1], digest(READER), OLD],
    ids=["none", "empty", "guess", "cut", "digest", "expired"],
)
def test_without_a_known_token_nobody_is_let_in(address: str, token: str | None) -> None:
    assert refusal(address, token).code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_of_another_tenant_is_denied(address: str) -> None:
    assert refusal(address, STRANGER).code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_quota_says_when_to_come_again_and_spares_health(address: str) -> None:
    with client_of(address, BUSY) as client:
        for _ in range(2):
            client.recommend(RecommendRequest(user_id="u"))
    error = refusal(address, BUSY)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry = RetryInfo()
    assert rpc_status.from_call(error).details[1].Unpack(retry)
    assert 900 < retry.retry_delay.seconds <= 1000
    with client_of(address, READER) as other:
        assert other.recommend(RecommendRequest(user_id="u")).results
    assert health_of(address, "") == SERVING


def test_reflection_needs_a_token_too(address: str) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        reflected_services(channel)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_service_that_no_rule_names_is_for_administrators(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(FILE + entry("root", "boss", '"admin"'))
    gate = Access(path, "default")
    gate.admit("/recsys.v1.AdminService/EraseUser", (("authorization", "Bearer boss"),))
    with pytest.raises(ForbiddenError):
        gate.admit("/recsys.v1.AdminService/EraseUser", (("authorization", f"Bearer {WRITER}"),))
    with pytest.raises(ForbiddenError):
        gate.admit(RECOMMEND, (("authorization", "Bearer boss"),))


def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_CHECK_SECONDS", 0.0)
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    gate = Access(path, "default")

    def replace(text: str, at: int) -> None:
        path.write_text(text)
        os.utime(path, (at, at))

    replace("tokens = [", 1)
    gate.admit(RECOMMEND, (("authorization", f"Bearer {READER}"),))
    replace(entry("new", "fresh", '"read"'), 2)
    gate.admit(RECOMMEND, (("authorization", "Bearer fresh"),))
    with pytest.raises(UnauthenticatedError):
        gate.admit(RECOMMEND, (("authorization", f"Bearer {READER}"),))


def test_a_bucket_fills_up_again() -> None:
    bucket = Bucket(per_second=1e9, size=1)
    assert bucket.take() == 0
    assert bucket.take() == 0
    empty = Bucket(per_second=0.5, size=1)
    assert empty.take() == 0
    assert 1.5 < empty.take() <= 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('tokens = "x"', "tokens"),
        (entry("a", "x", '"king"'), "roles"),
        (entry("a", "x", ""), "roles"),
        (entry("a", "x", '"read"', "requests_per_second = -1"), "requests_per_second"),
        (entry("a", "x", '"read"', 'colour = "red"'), "colour"),
        (entry("a", "x", '"read"') + entry("a", "y", '"read"'), "same name"),
        (entry("a", "x", '"read"') + entry("b", "x", '"read"'), "same sha256"),
        ("[[", "cannot be read"),
    ],
)
def test_a_wrong_tokens_file_is_told_without_its_secrets(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_tokens(path)
    assert digest("x") not in str(caught.value)


def test_a_new_token_is_printed_once_beside_the_lines_that_let_it_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tokens", "new", "--tenant", "shop", "--role", "write", "--name", "web"]
    assert run(words, [TOKENS]) == 0
    printed = capsys.readouterr()
    token = printed.err.split()[-1]
    (tmp_path / "tokens.toml").write_text(printed.out)
    [known] = read_tokens(tmp_path / "tokens.toml")
    assert (known.name, known.tenant, known.sha256) == ("web", "shop", digest(token))
    assert [role.value for role in known.roles] == ["write"]
    assert token not in printed.out
