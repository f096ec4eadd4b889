"""Minutes of traffic, swaps and faults together: ``python -m tests.faults.soak``, or ``make soak``.

Two workers serve a trained shop through a network that fails, with a store that dies and hangs. Whatever
comes, each call is to be answered with a full page, each acknowledged event is to be in the log once, and the
online states are to be those that the log gives. One table says what was done and found; the command fails
where one of these was not so.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from rich.console import Console
from rich.table import Table

from recsys.progress import progress
from recsys.registry import Registry
from recsys.tables import read_items
from recsys.v1.admin_service_pb2 import EraseUserRequest
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from tests.faults.fault_proxy import FaultProxy, fault_proxy
from tests.faults.load import Outcomes, steady
from tests.faults.processes import (
    PATIENCE_SECONDS,
    ServerProcess,
    StoreProcess,
    server_process,
    store_process,
    until,
)
from tests.faults.test_intake_faults import logged
from tests.faults.test_store_faults import agree, oracle, states_in
from tests.serving.running import free_port
from tests.tiny_encoder import make_tiny_encoder
from tests.tiny_shop import ingest_shop, tiny_config, tiny_shop
from training.recipe import train

_PAUSE_SECONDS, _SPELL_SECONDS = 3.0, 2.0
_PAGE = 5
_SHOPPERS = 200


def shop_with_two_models(root: Path) -> tuple[Workspace, tuple[str, str]]:
    """A trained shop with two bundles, of which the second serves; and their versions."""
    shop = tiny_shop()
    make_tiny_encoder(root / "encoder", shop.items["title"].to_list())
    workspace, config = ingest_shop(root, shop.items, shop.history), tiny_config(root / "encoder")
    first = train(workspace, config=config).version
    return workspace, (first, train(workspace, config=config, only="ranker").version)


@dataclass
class Soak:
    """What is under way, and what was seen of it."""

    workspace: Workspace
    versions: tuple[str, str]
    server: ServerProcess
    store: StoreProcess
    proxy: FaultProxy
    admin_port: int
    chance: random.Random
    pages: Outcomes = field(default_factory=Outcomes)
    acts: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The shopper of each event that was accepted, by its id."""
    erased: set[str] = field(default_factory=set)

    def acts_in_turn(self) -> list[Callable[[], Awaitable[None]]]:
        """Everything that may happen, in an order drawn anew."""
        acts = [
            self.model_swapped,
            self.store_killed,
            self.store_hung,
            self.worker_killed,
            self.connections_reset,
            self.network_slow,
            self.shopper_erased,
        ]
        return self.chance.sample(acts, len(acts))

    async def model_swapped(self) -> None:
        registry = Registry(self.workspace.registry)
        [other] = set(self.versions) - {registry.pointers().stable}
        await asyncio.to_thread(registry.promote, other)

    async def store_killed(self) -> None:
        await asyncio.to_thread(self.store.kill)
        await asyncio.sleep(_SPELL_SECONDS)
        await asyncio.to_thread(self.store.start)

    async def store_hung(self) -> None:
        self.store.send(signal.SIGSTOP)
        await asyncio.sleep(_SPELL_SECONDS)
        self.store.send(signal.SIGCONT)

    async def worker_killed(self) -> None:
        os.kill(self.chance.choice(self.server.children()), signal.SIGKILL)

    async def connections_reset(self) -> None:
        self.proxy.drop()

    async def network_slow(self) -> None:
        self.proxy.weather.latency_seconds = 0.05
        await asyncio.sleep(_SPELL_SECONDS)
        self.proxy.weather.latency_seconds = 0.0

    async def shopper_erased(self) -> None:
        shopper = f"shopper-{len(self.erased)}"
        self.erased.add(shopper)
        await asyncio.sleep(_SPELL_SECONDS)  # what is under way arrives; after it nothing more is sent
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.admin_port}") as channel:
            stub = AdminServiceStub(channel)
            request = EraseUserRequest(user_id=shopper)
            await stub.EraseUser(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)

    def asking(self, client: AsyncClient, items: list[str]) -> Callable[[int], Awaitable[object]]:
        """Home pages of known and unknown shoppers, items to be ranked, and events."""

        async def ask(number: int) -> object:
            shopper = f"shopper-{self.chance.randrange(len(self.erased), _SHOPPERS)}"
            if number % 5 == 0:
                return await self.record(client, f"soak-{number}-{time.time_ns()}", shopper, items)
            if number % 5 == 1:
                return await client.rank(RankRequest(user_id=shopper, item_ids=items[:_PAGE]))
            return await client.recommend(RecommendRequest(user_id=shopper, page_size=_PAGE))

        return ask

    async def record(self, client: AsyncClient, event_id: str, shopper: str, items: list[str]) -> object:
        """Send an event with an id; one that was accepted must never be lost."""
        item_id = self.chance.choice(items)
        event = Event(event_id=event_id, event_type="purchase", user_id=shopper, item_id=item_id)
        [result] = await client.record_events([event])
        if result.status in {EventStatus.EVENT_STATUS_ACCEPTED, EventStatus.EVENT_STATUS_DUPLICATE}:
            self.acknowledged[event_id] = shopper
        return result

    async def run(self, seconds: float, per_second: float) -> None:
        """Load and faults for a time, then nothing but the load for a second."""
        items = read_items(self.workspace)["item_id"].to_list()
        async with AsyncClient(Connection(self.proxy.address, timeout_seconds=10)) as client:
            load = asyncio.create_task(steady(self.asking(client, items), per_second, seconds))
            with progress("soaking", round(seconds)) as advance:
                ends = time.monotonic() + seconds - 2 * _PAUSE_SECONDS - _SPELL_SECONDS
                while time.monotonic() < ends:
                    for act in self.acts_in_turn():
                        began = time.monotonic()
                        if began >= ends:
                            break
                        await asyncio.gather(act(), asyncio.sleep(_PAUSE_SECONDS))
                        self.acts[act.__name__.replace("_", " ")] += 1
                        advance(round(time.monotonic() - began))
                self.pages = await load


@dataclass(frozen=True)
class Verdict:
    """One row of the table."""

    what: str
    found: str
    aim: str = ""
    is_met: bool = True


def verdicts(soak: Soak, directory: Path, memory_mib: tuple[float, float]) -> list[Verdict]:
    """Read what is left when the server has ended."""
    calls, answered = soak.pages.calls, soak.pages.ok()
    pages = [call for call in answered.calls if call.level]
    num_short = sum(call.num_results != _PAGE for call in pages)
    rows = logged(soak.workspace)
    events = Counter(event_id for event_id, *_ in rows)
    owed = {event_id for event_id, shopper in soak.acknowledged.items() if shopper not in soak.erased}
    num_lost = len(owed - events.keys())
    num_doubled = sum(count > 1 for count in events.values())
    num_erased = sum(shopper in soak.erased for _, shopper, _ in rows)
    try:
        agree(states_in(soak.store), oracle(soak.workspace, directory / "oracle"))
        differing = ""
    except AssertionError as error:
        differing = str(error).partition("\n")[0] or "they differ"
    before, after = memory_mib
    levels = Counter(call.level for call in pages)
    shares = ", ".join(f"{name} {100 * count / len(pages):.1f} %" for name, count in levels.most_common())
    times = " / ".join(f"{answered.quantile_ms(share):.0f} ms" for share in (0.5, 0.99))
    return [
        *(Verdict(f"times: {name}", str(count)) for name, count in sorted(soak.acts.items())),
        Verdict("calls", f"{len(calls):,}"),
        Verdict(
            "calls answered",
            f"{100 * len(answered.calls) / len(calls):.2f} % {soak.pages.statuses()}",
            "100 %",
            len(answered.calls) == len(calls),
        ),
        Verdict("pages that are short or empty", str(num_short), "0", not num_short),
        Verdict("pages by service level", shares),
        Verdict("median and 99th percentile", times),
        Verdict("events acknowledged", f"{len(soak.acknowledged):,}"),
        Verdict("of them lost", str(num_lost), "0", not num_lost),
        Verdict("events in the log twice", str(num_doubled), "0", not num_doubled),
        Verdict("events of the erased in the log", str(num_erased), "0", not num_erased),
        Verdict("states against the log's", differing or "the same", "the same", not differing),
        Verdict("memory after a fifth, and at the end", f"{before:,.0f} / {after:,.0f} MiB"),
    ]


def soaked(root: Path, seconds: float, per_second: float, seed: int) -> list[Verdict]:
    """Soak a shop for a time."""
    workspace, versions = shop_with_two_models(root)
    with ExitStack() as stack:
        store = stack.enter_context(store_process())
        flags = ("--port=0", "--clock=wall", "--workers=2", f"--redis={store.url}")
        admin_port = free_port()
        server = stack.enter_context(
            server_process(
                workspace,
                root / "server",
                *flags,
                RECSYS_ADMIN_PORT=str(admin_port),
                RECSYS_COMPACT_EVERY="PT5S",
            )
        )
        host, port = server.address.rsplit(":", 1)
        proxy = stack.enter_context(fault_proxy((host, int(port))))
        soak = Soak(workspace, versions, server, store, proxy, admin_port, random.Random(seed))

        async def both() -> tuple[None, float]:
            return await asyncio.gather(soak.run(seconds, per_second), memory_mib_after(server, seconds / 5))

        _, early = asyncio.run(both())
        late = asyncio.run(memory_mib_after(server, 0.0))
        until(lambda: server.metric("recsys_unapplied_events") == 0, what="the states' catching up")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        return verdicts(soak, root, (early, late))


async def memory_mib_after(server: ServerProcess, seconds: float) -> float:
    """Resident memory of a server and its workers, after a time."""
    await asyncio.sleep(seconds)
    own = (Path(f"/proc/{pid}/statm") for pid in (server.pid, *server.children()))
    pages = sum(int(path.read_text(encoding="ascii").split()[1]) for path in own if path.exists())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Read the command line, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--per-second", type=float, default=10.0, help="calls; two cores bear some 20")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as root:
        found = soaked(Path(root), 60 * arguments.minutes, arguments.per_second, arguments.seed)
    table = Table(title=f"{arguments.minutes:g} minutes of traffic, swaps and faults")
    for name in ("", "found", "aimed at"):
        table.add_column(name)
    for row in found:
        table.add_row(row.what, row.found, row.aim, style=None if row.is_met else "red")
    Console(file=sys.stdout, width=140).print(table)
    return 0 if all(row.is_met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
