"""A TCP proxy on the loopback address that does to a connection what networks do."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_CHUNK = 1 << 16


@dataclass
class Weather:
    """What happens to bytes; may be changed at any time, also for connections that are open."""

    latency_seconds: float = 0.0
    """Added to each chunk, each way."""
    reset_share: float = 0.0
    """Share of the chunks from a client at which the connection is reset, 0 to 1."""
    one_byte: bool = False
    """Whether everything is written byte by byte."""
    hangs: bool = False
    """Whether nothing goes through, while connections stay open and new ones are accepted: half open."""
    refuses: bool = False
    """Whether connections are closed, new ones at once."""


class FaultProxy:
    """Forwards one port to another address, in the weather that it has."""

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self.target = target
        """Where new connections lead; may be changed."""
        self.weather = Weather()
        self.num_resets = 0
        self.port = 0
        self._random = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Reset every open connection."""
        self._loop.call_soon_threadsafe(self._reset_all)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.refuses:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        with suppress(asyncio.CancelledError):  # the proxy ends
            await self._forward(reader, back, there, writer)
        for end in (writer, back):
            end.close()
            self._open.discard(end)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Carry bytes both ways until one side ends."""
        ways = [self._pump(reader, back, from_client=True), self._pump(there, writer, from_client=False)]
        await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when="FIRST_COMPLETED")

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                while self.weather.hangs:
                    await asyncio.sleep(0.01)
                if self.weather.refuses or (from_client and self._random.random() < self.weather.reset_share):
                    self.num_resets += 1
                    writer.transport.abort()
                    return
                await asyncio.sleep(self.weather.latency_seconds)
                for piece in (
                    (chunk[i : i + 1] for i in range(len(chunk))) if self.weather.one_byte else [chunk]
                ):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)

    def _reset_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        with suppress(asyncio.CancelledError):
            await server.serve_forever()


@contextmanager
def fault_proxy(target: tuple[str, int], seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy in a thread of its own."""
    proxy, started = FaultProxy(target, seed), threading.Event()
    loop = proxy._loop

    def run() -> None:
        asyncio.set_event_loop(loop)
        main = loop.create_task(proxy._serve(started))
        loop.run_until_complete(main)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        proxy._reset_all()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=run, name="fault-proxy")
    thread.start()
    started.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(
            lambda: [task.cancel() for task in asyncio.all_tasks(loop) if _is_main(task)]
        )
        thread.join(10)


def _is_main(task: "asyncio.Task[object]") -> bool:
    return getattr(task.get_coro(), "__qualname__", "") == "FaultProxy._serve"
