"""Sends a server what no client would: ``python -m tests.serving.fuzz --requests 100000``, or ``make fuzz``.

Every request begins as a message whose fields are drawn from what tends to break programs, by the descriptors
of the protos, so that new fields are fuzzed without being named here. About half are then damaged as bytes.
The server must answer each with a code that the protos document, and what it calls OK must be a message.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from recsys.progress import Advance, progress
from recsys.v1 import (
    admin_service_pb2,
    blurb_service_pb2,
    catalog_service_pb2,
    event_service_pb2,
    experiment_service_pb2,
    recommendation_service_pb2,
)
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.small_shop import ITEM_IDS

DOCUMENTED = frozenset({"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})
"""All that an answer to bad input may be."""

ADMIN_DOCUMENTED = DOCUMENTED | {"NOT_FOUND", "FAILED_PRECONDITION"}
"""The same of the AdminService, which says so of models that are not there or not to be used."""


def _methods(*files: FileDescriptor) -> tuple[MethodDescriptor, ...]:
    services = (service for file in files for service in file.services_by_name.values())
    return tuple(method for service in services for method in service.methods)


METHODS = _methods(
    recommendation_service_pb2.DESCRIPTOR,
    event_service_pb2.DESCRIPTOR,
    catalog_service_pb2.DESCRIPTOR,
    experiment_service_pb2.DESCRIPTOR,
    blurb_service_pb2.DESCRIPTOR,
)
ADMIN_METHODS = _methods(admin_service_pb2.DESCRIPTOR)

_Field: TypeAlias = Any  # a FieldDescriptor; the stubs have two of them

_CONCURRENCY = 16  # of one connection; what is more than a server lets in at once is refused by HTTP/2
_ADMIN_SHARE = 0.005
_WORDS = (
    "",
    " ",
    "u",
    "1",
    "home",
    "similar_items",
    "eggs",
    "bread",
    "purchase",
    "view",
    "impression",
    "\x00",
    "\x1f",
    "\u202e",
    "é" * 128,
    "é" * 129,
    "x" * 256,
    "x" * 257,
    "x" * 5000,
    "'; DROP TABLE events; --",
    "{}",
    "%s%n",
    "price < 5",
    "price < cheap",
    "price <",
    'category:"Shoes" AND (price < 50 OR NOT available = true)',
    "title:*",
    "attributes.size = 3",
    "-" * 300,
    "(" * 500,
    "NOT " * 200,
    "a = 1 OR " * 100 + "a = 1",
    "1e999",
)
_INTEGERS = (0, 1, 2, 3, 5, 20, 199, 200, 201, -1, 2**31 - 1, -(2**31))
_WAITS = (1, 1, 20, -1, 5001)  # a stream may last so many milliseconds
_LONG = (0, 1, -1, 1_512_000_000, 2**63 - 1, -(2**63), 253_402_300_799, 253_402_300_800)
_NUMBERS = (
    0.0,
    1.0,
    2.0,
    9.99,
    -0.0,
    1.5,
    -1.0,
    1e308,
    -1e308,
    5e-324,
    float("inf"),
    float("-inf"),
    float("nan"),
)
_LENGTHS = (0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 8, 100, 101, 1001)
_ITEMS = (*ITEM_IDS, *(f"item-{number}" for number in range(9)), "unicorn")
_GOOD: dict[str, tuple[str, ...]] = {
    "placement": ("home", "similar_items", ""),
    "event_type": ("view", "purchase", "impression"),
    "filter": ("", "price < 5", 'title:"a" OR NOT available = true'),
    "blurb_id": ("f" * 32, "0" * 31),
    "language_codes": ("en", "de-AT", "*"),
    "segment": ("", "none", "gift"),
    "item_id": _ITEMS,
    "item_ids": _ITEMS,
    "context_item_ids": _ITEMS,
    "exclude_item_ids": _ITEMS,
}
"""What a field may well hold; whatever is not named is an id of somebody or something."""


def made_message(rng: random.Random, method: MethodDescriptor) -> Message:
    """A request with random fields."""
    message: Message = GetMessageClass(method.input_type)()
    _fill(rng, message, depth=0)
    return message


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """The same bytes after one to four accidents."""
    for _ in range(rng.randint(1, 4)):
        at, until = sorted(rng.choices(range(len(raw) + 1), k=2))
        some = rng.randbytes(rng.choice((1, 2, 5, 11)))
        accidents = (
            raw[:at] + raw[until:],
            raw[:at] + some + raw[at:],
            raw[:at] + some + raw[at + len(some) :],
            raw[:until] + raw[at:],
            raw[:at],
        )
        raw = rng.choice(accidents)
    return raw


def monstrous(rng: random.Random) -> bytes:
    """Bytes that no message is made of: endless varints, no UTF-8, deep nesting, endless repetition."""
    field = rng.randint(1, 12)
    of_length = bytes([field << 3 | 2])
    nested = b""
    for _ in range(rng.choice((90, 101, 300))):
        nested = of_length + _varint(len(nested)) + nested
    return rng.choice(
        (
            rng.randbytes(rng.choice((1, 100, 10_000))),
            of_length + b"\xff" * rng.choice((1, 9, 10, 11)),
            bytes([field << 3]) + b"\x80" * 20,
            of_length + b"\x02\xc3\x28",
            of_length + _varint(2**31 - 1),
            nested,
            bytes([field << 3 | 3]) * rng.choice((99, 101, 10_000)),
            (of_length + b"\0") * rng.choice((1_001, 500_000, 1_000_000)),
            bytes([field << 3, 1]) * 500_000,
        )
    )


def _varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


async def fuzz(
    address: str, num_requests: int, seed: int, seconds: float, advance: Advance, *, admin: str | None = None
) -> Counter[str]:
    """Send requests until they are through or the time is up, and count the codes of the answers.

    Args:
        address: The server.
        num_requests: How many.
        seed: Of all choices.
        seconds: After which to stop.
        advance: Called with 1 after each.
        admin: Address of its AdminService, which gets a few of them; its codes are counted as ``admin NAME``.
    """
    rng = random.Random(seed)
    codes: Counter[str] = Counter()
    pending = iter(_bounded(num_requests, time.monotonic() + seconds))
    async with (
        grpc.aio.insecure_channel(address) as channel,
        grpc.aio.insecure_channel(admin or address) as admin_channel,
    ):

        async def worker() -> None:
            for _ in pending:
                if admin is not None and rng.random() < _ADMIN_SHARE:
                    codes[f"admin {await _one(rng, admin_channel, rng.choice(ADMIN_METHODS))}"] += 1
                else:
                    codes[await _one(rng, channel, rng.choice(METHODS))] += 1
                advance(1)

        await asyncio.gather(*(worker() for _ in range(_CONCURRENCY)))
    return codes


def undocumented(codes: Counter[str]) -> set[str]:
    """Of the codes that were counted, those that no answer may have."""
    allowed = {*DOCUMENTED, *(f"admin {code}" for code in ADMIN_DOCUMENTED)}
    return set(codes) - allowed


async def _one(rng: random.Random, channel: grpc.aio.Channel, method: MethodDescriptor) -> str:
    raw = made_message(rng, method).SerializeToString()
    if rng.random() < 0.5:
        raw = damaged(rng, raw)
    if rng.random() < 0.01:
        raw = monstrous(rng)
    if rng.random() < 0.001:
        raw += rng.randbytes(2 << 20)
    timeout = rng.choice((0.0, 0.001)) if rng.random() < 0.005 else PATIENCE_SECONDS
    path, answers = f"/{method.containing_service.full_name}/{method.name}", list[bytes]()
    try:
        if method.server_streaming:
            stream: Any = channel.unary_stream(path)
            answers += [answer async for answer in stream(raw, timeout=timeout)]
        else:
            call: Any = channel.unary_unary(path)
            answers.append(await call(raw, timeout=timeout))
        for answer in answers:
            GetMessageClass(method.output_type)().ParseFromString(answer)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except DecodeError:
        return "NO_MESSAGE"
    return "OK"


def _bounded(number: int, until: float) -> Iterator[int]:
    for index in range(number):
        if time.monotonic() > until:
            return
        yield index


def _fill(rng: random.Random, message: Message, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.4:
            continue
        values = [_value(rng, field, depth) for _ in range(rng.choice(_LENGTHS) if field.is_repeated else 1)]
        if field.message_type is None:
            _set(message, field, values)
        elif field.message_type.GetOptions().map_entry or depth > 3:
            continue
        else:
            _fill_messages(rng, message, field, depth)


def _set(message: Message, field: _Field, values: Sequence[object]) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, values[0])


def _fill_messages(rng: random.Random, message: Message, field: _Field, depth: int) -> None:
    inner = getattr(message, field.name)
    for _ in range(rng.choice(_LENGTHS[:11]) if field.is_repeated else 1):
        target = inner.add() if field.is_repeated else inner
        target.SetInParent()
        _fill(rng, target, depth + 1)


def _value(rng: random.Random, field: _Field, depth: int) -> object:
    if field.message_type is not None or depth > 4:
        return None
    by_type: dict[int, Callable[[], object]] = {
        FieldDescriptor.CPPTYPE_STRING: lambda: _text(rng, field),
        FieldDescriptor.CPPTYPE_BOOL: lambda: rng.random() < 0.5,
        FieldDescriptor.CPPTYPE_INT32: lambda: rng.choice(_WAITS if field.name == "wait_ms" else _INTEGERS),
        FieldDescriptor.CPPTYPE_ENUM: lambda: rng.choice((0, 0, 1, 1, 2, 2, 3, 99, -1)),
        FieldDescriptor.CPPTYPE_INT64: lambda: rng.choice(_LONG),
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: rng.choice(_NUMBERS),
        FieldDescriptor.CPPTYPE_FLOAT: lambda: rng.choice(_NUMBERS[:4]),
        FieldDescriptor.CPPTYPE_UINT32: lambda: abs(rng.choice(_INTEGERS)),
        FieldDescriptor.CPPTYPE_UINT64: lambda: abs(rng.choice(_LONG)),
    }
    return by_type[field.cpp_type]()


def _text(rng: random.Random, field: _Field) -> object:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 40, 300)))
    if rng.random() < 0.85:  # with many bad fields, most requests would fail for the same few reasons
        return rng.choice(_GOOD.get(field.name, ("1", "u2")))
    return rng.choice(_WORDS)


def main() -> int:
    """Fuzz a server with a real model, and say which codes came; 1 when one came that is not documented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--address", help="a server that runs; default: a small shop's of our own")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        admin = free_port()
        address = given.address or stack.enter_context(_small_server(folder, admin))
        advance = stack.enter_context(progress("fuzz", given.requests))
        fuzzing = fuzz(
            address,
            given.requests,
            given.seed,
            given.seconds,
            advance,
            admin=None if given.address else f"127.0.0.1:{admin}",
        )
        codes = asyncio.run(fuzzing)
    sys.stdout.write(f"{codes.total()} requests, seed {given.seed}: {dict(codes.most_common())}\n")
    return int(bool(undocumented(codes)))


def _small_server(folder: Path, admin_port: int) -> Any:
    from serving.loading import load_pipeline, warm_up
    from tests.tiny_encoder import make_tiny_encoder
    from tests.tiny_shop import ingest_shop, tiny_config, tiny_shop
    from training.recipe import train

    shop = tiny_shop()
    workspace = ingest_shop(folder, shop.items, shop.history)
    train(workspace, config=tiny_config(make_tiny_encoder(folder / "encoder", shop.items["title"].to_list())))
    pipeline = load_pipeline(workspace)
    warm_up(pipeline, 1)
    patient = timedelta(minutes=10)  # items change faster than their texts are read
    return running_server(workspace.root, pipeline, admin_port=admin_port, catalogue_stale_after=patient)


if __name__ == "__main__":
    sys.exit(main())
