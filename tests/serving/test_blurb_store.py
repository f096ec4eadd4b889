"""Tests of the published blurbs in a real server."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from recsys.blurbs.row import BlurbRow, BlurbSlot, Source
from recsys.blurbs.switches import OffSwitches
from recsys.errors import StoreError
from recsys.schema import DAY_MS
from serving.blurb_store import BlurbKeys, BlurbStore, BlurbWriter
from serving.embedded_store import embedded_store
from serving.store_clients import connect

NOW = round(time.time() * 1000)
ROW = BlurbRow(
    text="Ein Löffel aus Buche.",
    source=Source.GENERATED,
    ai_generated=True,
    language="de",
    model="m@1",
    prompt_version="p1",
    blurb_id="0" * 32,
    generated_at=NOW,
    fact_ids=("material",),
    fresh_until=NOW + DAY_MS,
    stale_until=NOW + 2 * DAY_MS,
    facts_hash="f",
)
SPOON, FORK = BlurbSlot("spoon", "de"), BlurbSlot("fork", "de", "gift")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


def read(url: str, *slots: BlurbSlot) -> tuple[list[BlurbRow | None], int, OffSwitches]:
    async def scenario() -> tuple[list[BlurbRow | None], int, OffSwitches]:
        async with connect(url, 10_000) as client:
            store = BlurbStore(client, "t")
            return (await store.read(slots), *await store.state())

    return asyncio.run(scenario())


def test_what_is_published_is_read_in_the_order_asked_for(url: str, raw: redis.Redis) -> None:
    assert read(url, SPOON) == ([None], 0, OffSwitches())
    BlurbWriter(raw, "t").publish({SPOON: ROW, FORK: replace(ROW, text="Eine Gabel.")})
    rows, version, _ = read(url, FORK, BlurbSlot("spoon", "en"), SPOON)
    assert [row and row.text for row in rows] == ["Eine Gabel.", None, "Ein Löffel aus Buche."]
    assert version == 1
    assert rows[2] == ROW


def test_a_revoked_blurb_is_gone_and_the_version_tells(url: str, raw: redis.Redis) -> None:
    writer = BlurbWriter(raw, "t")
    writer.publish({SPOON: ROW, FORK: ROW})
    writer.publish({SPOON: None})
    assert read(url, SPOON, FORK)[:2] == ([None, ROW], 2)
    writer.clear()
    assert read(url, SPOON, FORK)[:2] == ([None, None], 3)


def test_a_blurb_leaves_the_store_when_it_may_be_shown_no_more(url: str, raw: redis.Redis) -> None:
    BlurbWriter(raw, "t").publish({SPOON: ROW, FORK: replace(ROW, stale_until=NOW - 1)})
    assert read(url, SPOON, FORK)[0] == [ROW, None]


def test_switches_reach_the_readers(url: str, raw: redis.Redis) -> None:
    off = OffSwitches.of([("category", "Knives"), ("seller", "acme")])
    BlurbWriter(raw, "t").switch(off)
    assert read(url)[1:] == (1, off)
    assert off.hide("x", ("Kitchen", "Knives"), None)
    assert off.hide("x", (), "acme")
    assert not off.hide("x", ("Kitchen",), "other")


def test_damaged_bytes_are_no_blurb(url: str, raw: redis.Redis) -> None:
    raw.set(BlurbKeys("t").blurb(SPOON), b"\x01{")
    raw.set(BlurbKeys("t").blurb(FORK), b"\x09" + ROW.to_bytes()[1:])
    assert read(url, SPOON, FORK)[0] == [None, None]


def test_a_store_that_is_away_is_said_so() -> None:
    with pytest.raises(StoreError, match="did not answer"):
        read("unix:///nowhere.sock", SPOON)
