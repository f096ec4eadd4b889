"""Callers without a right, callers without measure, and tenants who would like to be others."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import redis

from recsys.config import StateConfig
from recsys.user_state import UserState
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Client, Connection
from serving.event import BufferedEvent, Event
from serving.state_store import StateStore
from serving.store_clients import connect
from serving.tokens import new_token
from tests.faults.conftest import Note, Serve
from tests.faults.load import Outcomes, steady
from tests.faults.processes import PATIENCE_SECONDS, StoreProcess, store_process
from tests.serving.test_access import entry
from tests.serving.test_tenants import TENANTS, an_id, collisions
from tests.serving.test_tls import authority, issue

NOON = 1_512_000_000_000
READER, STRANGER, OLD, WEB, GREEDY = (new_token() for _ in range(5))


def refused(connection: Connection, request: RecommendRequest) -> tuple[str, str]:
    """The status and the words that a call is refused with."""
    with Client(connection) as client, pytest.raises(grpc.RpcError) as caught:
        client.recommend(request)
    return caught.value.code().name, caught.value.details() or ""


def test_t31_nobody_is_let_in_without_a_right_and_nothing_tells_why(
    shop: Workspace, tmp_path: Path, serve: Serve, figure: Note
) -> None:
    ca, tokens = tmp_path / "ca.pem", tmp_path / "tokens.toml"
    signer = authority(ca)
    server, client = issue(signer, tmp_path, "server"), issue(signer, tmp_path, "client")
    stranger = issue(authority(tmp_path / "other.pem"), tmp_path, "stranger")
    yesterday = f'expires = "{(datetime.now(UTC) - timedelta(days=1)):%Y-%m-%dT%H:%M:%SZ}"'
    tokens.write_text(
        entry("reader", READER, '"read"')
        + entry("stranger", STRANGER, '"read"', tenant="elsewhere")
        + entry("old", OLD, '"read"', yesterday)
    )
    flags = [
        "--port=0",
        "--clock=replay",
        f"--tls-cert={server.cert}",
        f"--tls-key={server.key}",
        f"--tls-client-ca={ca}",
    ]
    with serve(shop, tmp_path / "server", *flags, RECSYS_TOKENS_FILE=str(tokens)) as process:

        def connection(token: str | None) -> Connection:
            return Connection(
                process.address, PATIENCE_SECONDS, token, tls_ca=ca, tls_cert=client.cert, tls_key=client.key
            )

        with Client(connection(READER)) as known:
            assert known.recommend(RecommendRequest(user_id="u")).results
        request = RecommendRequest(user_id="u")
        unknown = {refused(connection(token), request) for token in (None, "guess", READER[:-1], OLD)}
        assert len(unknown) == 1, "a missing, a wrong and an expired token are told the same"
        assert unknown.pop()[0] == "UNAUTHENTICATED"
        there_or_not = {refused(connection(STRANGER), RecommendRequest(user_id=u)) for u in ("u", "?" * 99)}
        assert len(there_or_not) == 1
        assert there_or_not.pop()[0] == "PERMISSION_DENIED"
        for cert in (None, stranger):
            stranger_at = Connection(
                process.address,
                5.0,
                READER,
                tls_ca=ca,
                tls_cert=None if cert is None else cert.cert,
                tls_key=None if cert is None else cert.key,
            )
            assert refused(stranger_at, request)[0] in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        figure("T31", "callers without a right who were let in, of 8", 0, "callers", "0")


def test_t32_a_caller_far_beyond_its_quota_harms_nobody_else(
    shop: Workspace, tmp_path: Path, serve: Serve, figure: Note
) -> None:
    tokens = tmp_path / "tokens.toml"
    quota = 5.0
    greedy = entry("greedy", GREEDY, '"read"', f"requests_per_second = {quota}\nburst = 5")
    tokens.write_text(entry("web", WEB, '"read"') + greedy)

    async def load(address: str, seconds: float, *, with_greed: bool) -> list[Outcomes]:
        async with (
            AsyncClient(Connection(address, 10.0, WEB)) as web,
            AsyncClient(Connection(address, 10.0, GREEDY)) as other,
        ):
            own = steady(lambda n: web.recommend(RecommendRequest(user_id=f"u{n}")), 10, seconds)
            rate = 10 * quota if with_greed else 0.0
            theirs = steady(lambda n: other.recommend(RecommendRequest(user_id=f"g{n}")), rate, seconds)
            return list(await asyncio.gather(own, theirs))

    with serve(shop, tmp_path / "server", RECSYS_TOKENS_FILE=str(tokens)) as process:
        asyncio.run(load(process.address, 1, with_greed=False))
        alone, beside, theirs = Outcomes(), Outcomes(), Outcomes()
        for _ in range(3):  # in turns: other load on the machine comes and goes
            alone.calls += asyncio.run(load(process.address, 4, with_greed=False))[0].calls
            own, greedy_calls = asyncio.run(load(process.address, 4, with_greed=True))
            beside.calls += own.calls
            theirs.calls += greedy_calls.calls
    assert set(beside.statuses()) == set(alone.statuses()) == {"OK"}
    assert set(theirs.statuses()) == {"OK", "RESOURCE_EXHAUSTED"}
    assert theirs.statuses()["OK"] <= 3 * (5 + quota * 6)
    assert theirs.statuses()["RESOURCE_EXHAUSTED"] >= 150
    figure("T32", "errors of the others", 0, "calls", "0")
    figure("T32", "p99 of the others alone", alone.quantile_ms(0.99), "ms", "")
    figure("T32", "p99 of the others beside ten times the quota", beside.quantile_ms(0.99), "ms", "+20 %")
    figure("T32", "median of the others alone", alone.quantile_ms(0.5), "ms", "")
    figure("T32", "median of the others beside ten times the quota", beside.quantile_ms(0.5), "ms", "+20 %")


@contextmanager
def tenants_store() -> Iterator[tuple[StoreProcess, dict[str, str]]]:
    """A store of several tenants, each with the rights of ``deploy/valkey.acl``; their passwords."""
    secrets = {tenant: f"pass-{tenant}" for tenant in TENANTS}
    rights = (Path(__file__).parents[2] / "deploy/valkey.acl").read_text(encoding="utf-8").splitlines()[1]
    own_rights = rights.split("resetkeys ~recsys:default:* ")[1].split()
    with store_process() as store:
        for tenant, secret in secrets.items():
            who = (f"of-{tenant}", "on", f">{secret}", "resetkeys", f"~recsys:{tenant}:*")
            store.ask("ACL", "SETUSER", *who, *own_rights)
        yield store, secrets


@pytest.mark.timeout(900)
def test_t33_no_operation_of_one_tenant_reaches_another(figure: Note) -> None:
    assert asyncio.run(collisions(1_000_000)) == 0
    figure("T33", "keys shared by tenants, of 3 million", 0, "keys", "0")
    with tenants_store() as (store, secrets):
        num_leaks = asyncio.run(_operations(store.port, secrets, 20_000))
        assert num_leaks == 0
        with redis.Redis(port=store.port, username="of-a", password=secrets["a"]) as client:
            for command in (
                ("GET", "recsys:default:u:{default:u}"),
                ("FLUSHALL",),
                ("CONFIG", "GET", "*"),
                ("KEYS", "*"),
                ("EVAL", "return 1", "0"),
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
    figure("T33", "operations on a store that saw another tenant's data, of 20,000", num_leaks, "", "0")


@pytest.mark.timeout(900)
def test_t33_a_million_commands_touch_no_foreign_key(figure: Note) -> None:
    with tenants_store() as (store, secrets):
        started = time.monotonic()
        num_touched, num_refused = _commands(store, secrets, 1_000_000)
        seconds = time.monotonic() - started
    assert num_touched == 0
    assert num_refused > 40_000
    figure("T33", "commands that touched a foreign key, of 1,000,000", num_touched, "", "0")
    figure("T33", "of them meant to, and refused", num_refused, "", "all")
    figure("T33", "time of the million", seconds, "s", "")


def _commands(store: StoreProcess, secrets: dict[str, str], number: int) -> tuple[int, int]:
    """Random commands by all tenants on the product's keys, a thousand at a time.

    Returns:
        How many saw or reached what is another's, and how many tried to and were refused.
    """
    draw, config = random.Random(4), StateConfig()
    at = {name: StateStore(connect("redis://127.0.0.1:1", 1), name, config) for name in TENANTS}
    ids = [an_id(draw) for _ in range(200)]
    keys = {
        name: [key(one) for one in ids for key in (of.keys.state, of.keys.origin)] for name, of in at.items()
    }
    written: dict[str, str] = {}
    num_touched = num_refused = 0
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(redis.Redis(port=store.port, username=f"of-{name}", password=secret))
            for name, secret in secrets.items()
        }
        for start in range(0, number, 1_000):
            tenant = draw.choice(TENANTS)
            others = [name for name in TENANTS if name != tenant]
            pipe, expected = clients[tenant].pipeline(transaction=False), list[str | None]()
            for count in range(start, start + 1_000):
                act, key = draw.random(), draw.choice(keys[tenant])
                if act < 0.45:
                    pipe.get(key)
                    expected.append(written.get(key, ""))
                elif act < 0.9:
                    written[key] = f"{tenant}:{count}"
                    pipe.set(key, written[key])
                    expected.append("set")
                elif act < 0.95:
                    pipe.unlink(key)
                    expected.append("unlinked" if written.pop(key, None) else "")
                else:
                    _try(pipe, draw.choice(keys[draw.choice(others)]), writes=act < 0.975)
                    expected.append(None)
            for found, wanted in zip(pipe.execute(raise_on_error=False), expected, strict=True):
                refused = isinstance(found, redis.exceptions.NoPermissionError)
                num_refused += refused
                num_touched += not refused if wanted is None else _said(found) != wanted
        there = sorted(written)
        values = stack.enter_context(redis.Redis(port=store.port)).mget(there)
        num_touched += sum(_said(value) != written[key] for key, value in zip(there, values, strict=True))
    return num_touched, num_refused


def _try(pipe: "redis.client.Pipeline", foreign: str, *, writes: bool) -> None:
    if writes:
        pipe.set(foreign, "stolen")
    else:
        pipe.get(foreign)


def _said(found: object) -> str:
    """What a reply comes to, in the words of the oracle."""
    if isinstance(found, bytes):
        return found.decode()
    if isinstance(found, bool):
        return "set" if found else ""
    return "unlinked" if found == 1 else ""


async def _operations(port: int, secrets: dict[str, str], number: int) -> int:
    """Random reads, writes, erasures and reloads by all tenants, each compared with what it did alone."""
    draw, config = random.Random(3), StateConfig()
    stores = {
        tenant: StateStore(connect(f"redis://of-{tenant}:{secret}@127.0.0.1:{port}", 10_000), tenant, config)
        for tenant, secret in secrets.items()
    }
    expected: dict[tuple[str, str], list[str]] = {}
    ids = [an_id(draw) for _ in range(40)]
    num_leaks = 0
    for sequence in range(1, number + 1):
        tenant, one = draw.choice(TENANTS), draw.choice(ids)
        store, act = stores[tenant], draw.random()
        if act < 0.4:
            found = await store.get(one)
            items = sorted(set(found.item_ids)) if found is not None else []
            num_leaks += items != sorted(set(expected.get((tenant, one), [])))
        elif act < 0.95:
            event = Event(f"e{sequence}", "view", one, f"{tenant}-{sequence % 7}", NOON, NOON)
            await store.apply(one, [BufferedEvent(sequence, event)])
            expected.setdefault((tenant, one), []).append(event.item_id)
        elif act < 0.999:
            await store.erase([one], NOON)
            expected.pop((tenant, one), None)
        else:
            nobody: list[tuple[str, UserState]] = []
            await store.load(nobody, "marker")
            expected = {key: items for key, items in expected.items() if key[0] != tenant}
    for store in stores.values():
        await store.close()
    return num_leaks
