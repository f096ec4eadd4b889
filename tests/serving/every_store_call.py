"""Everything that the product asks of the store, whether it is one server or a cluster."""

import asyncio
import time
from contextlib import closing
from datetime import timedelta

import numpy as np
import pytest
import redis

from recsys.answer import ServiceLevel
from recsys.blurbs.row import DEFAULT_POLICY, BlurbSlot
from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.withdrawn import Withdrawn
from recsys.config import StateConfig
from recsys.errors import InvalidRequestError
from recsys.store_url import is_cluster
from serving.blocking_cluster import BlockingClient
from serving.blurb_ask import BlurbAsk
from serving.blurb_reader import BlurbReader
from serving.blurb_reports import BlurbReports
from serving.blurb_store import BlurbMark, BlurbStore, BlurbWriter, OvertakenError
from serving.event import VISITOR_PREFIX, BufferedEvent
from serving.fillings import Footing
from serving.kept_list import KeptList
from serving.page_store import PageStore
from serving.state_reader import StateReader
from serving.state_store import StateStore
from serving.store_clients import connect, connect_blocking
from serving.visitor_link import VisitorLink
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import NOON, make_event
from tests.serving.test_blurb_store import ROW

TIMEOUT_MS = int(PATIENCE_SECONDS * 1000)
TENANT = "default"
SLOTS = [BlurbSlot(item, "en", segment) for item in ("bread", "milk") for segment in "ab"]
PEOPLE = [f"user-{number}" for number in range(20)]
"""Enough for some to lie on every node."""


def every_store_call(url: str) -> None:
    """Do it all; nothing may fail. The store holds what this leaves behind."""
    asyncio.run(_states(url))
    asyncio.run(_states_of_a_partition(url))
    _publishing(url)
    asyncio.run(_pages_and_blurbs(url))


def _connected(url: str) -> BlockingClient:
    """A client that has found the nodes, which one of a cluster does in a thread of its own."""
    client, deadline = connect_blocking(url, TIMEOUT_MS), time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.get(f"recsys:{TENANT}:nothing")
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "no cluster is found"
            time.sleep(0.01)
        else:
            return client


async def _states(url: str) -> None:
    store = StateStore(connect(url, TIMEOUT_MS), TENANT, StateConfig())
    event = make_event("1", "purchase", time_ms=NOON)
    for number, person in enumerate(PEOPLE):
        await store.apply(f"{person}~", [BufferedEvent(4 * number + 1, event)])
        await store.apply(person, [BufferedEvent(4 * number + 2, event)])
        await store.merge(f"{person}~", VisitorLink(f"new-{person}", 4 * number + 3))
        await store.merge(f"{person}~", VisitorLink(person, 4 * number + 4))
        assert await store.origin(f"new-{person}") == (f"{person}~", True)
    with closing(_connected(url)) as client:
        reader = StateReader(client, store)
        states = [(person, reader.get(f"{person}~")) for person in PEOPLE]
    known = [(person, state) for person, state in states if state is not None]
    assert len(known) == len(PEOPLE)
    assert await store.get(PEOPLE[0]) is not None
    await store.rewrite([*states, ("nobody", None)])
    await store.note_progress(5)
    assert await store.progress() == 5
    links = [(f"{person}~", VisitorLink(person, 4)) for person in PEOPLE]
    assert await store.load(known, "log", links) == len(PEOPLE)
    assert await store.is_loaded("log")
    assert await store.server_id()
    await store.learn_origins([(person, f"{person}~") for person in PEOPLE])
    await store.erase([*PEOPLE, *(f"{person}~" for person in PEOPLE)], NOON * 2)
    assert [await store.get(person) for person in PEOPLE] == [None] * len(PEOPLE)
    visitors = [f"{VISITOR_PREFIX}{person}" for person in PEOPLE]
    await store.learn_origins(zip(PEOPLE, visitors, strict=True))
    await store.erase(visitors, NOON * 2)
    assert [await store.origin(person) for person in PEOPLE] == [(None, False)] * len(PEOPLE)
    await store.unlink([f"recsys:{TENANT}:p:{number}" for number in range(3)])
    await store.close()


async def _states_of_a_partition(url: str) -> None:
    """What a consumer of one of several partitions asks."""
    store = StateStore(connect(url, TIMEOUT_MS), TENANT, StateConfig(), source="0")
    event = make_event("1", "purchase", time_ms=NOON)
    for person in PEOPLE:
        await store.apply(f"{person}~", [BufferedEvent(1, event)])
        await store.apply(person, [BufferedEvent(2, event)])
        await store.merge(f"{person}~", VisitorLink(person, 3))
    await store.rewrite([("nobody", None), (PEOPLE[0], await store.get(PEOPLE[0]))])
    assert await store.marks(PEOPLE[1]) == {"0": 3}
    await store.note_progress(3)
    assert await store.progress() == 3
    await store.load([], "log")
    assert await store.get(PEOPLE[0]) is None
    await _states_on_a_filling(store, is_whole=is_cluster(url))
    await store.erase(PEOPLE, NOON * 2)
    await store.close()


async def _states_on_a_filling(store: StateStore, *, is_whole: bool) -> None:
    """What a consumer asks that may be overtaken; a single server writes many people in one transaction."""
    store.writes.footing = footing = Footing(2, 1, "here", lambda: True)
    await store.apply(PEOPLE[0], [BufferedEvent(1, make_event("1", "purchase", time_ms=NOON))])
    await store.merge(PEOPLE[0], VisitorLink(PEOPLE[1], 2))
    await store.offsets().write(footing, 3, bool)
    assert await store.offsets().read(footing.number) == 3
    if not is_whole:
        return
    state = await store.get(PEOPLE[1])
    assert state is not None
    assert await store.load([(person, state) for person in PEOPLE], "log") == len(PEOPLE)
    assert await store.offsets().read(footing.number) is None
    await store.learn_origins([(person, f"{person}~") for person in PEOPLE])
    await store.rewrite([("nobody", None), (PEOPLE[0], VisitorLink(PEOPLE[1], 2))])
    assert {person async for person in store.people()} == set(PEOPLE)
    await store.forget_origins(lambda person: person == PEOPLE[0])
    assert await store.origin(PEOPLE[0]) == (None, True)
    assert await store.origin(PEOPLE[1]) == (f"{PEOPLE[1]}~", True)
    store.writes.footing = None


def _publishing(url: str) -> None:
    with closing(_connected(url)) as client:
        writer = BlurbWriter(client, TENANT)
        mark = writer.publish(
            {SLOTS[0]: ROW}, after=BlurbMark("book"), off=OffSwitches(), withdrawn=Withdrawn()
        )
        rows = {SLOTS[0]: ROW} | dict.fromkeys(SLOTS[1:])
        mark = writer.publish(rows, before=mark, after=mark, approved=SLOTS[:1])
        assert writer.mark() == mark
        with pytest.raises(OvertakenError):
            writer.publish({}, before=BlurbMark("other"), after=mark)
        writer.switch(OffSwitches())
        assert writer.clear(mark) not in {None, mark}
        assert writer.hidden() == frozenset()
        writer.publish({SLOTS[0]: ROW})


async def _pages_and_blurbs(url: str) -> None:
    client = connect(url, TIMEOUT_MS)
    with closing(_connected(url)) as blocking:
        pages = PageStore(client, blocking, TENANT, timedelta(minutes=1))
        kept = KeptList(["a"], np.asarray([0.1]), np.asarray([1], np.uint32), "m", ServiceLevel.FULL)
        for number in range(20):
            assert pages.keep(str(number), kept)
        pages.close()
        assert await pages.get("1", is_new=False) is not None
        await pages.erase([str(number) for number in range(20)])
        assert await pages.get("1", is_new=False) is None
        blurbs = BlurbStore(client, TENANT)
        assert await blurbs.read(SLOTS) == [ROW, None, None, None]
        version, _ = await blurbs.state()
        assert version > 0
        assert await blurbs.withdrawn() == Withdrawn()
        reader = BlurbReader(blocking, blurbs, TENANT)
        reader.trust(version, time.monotonic())
        assert reader.read(
            BlurbAsk(("en",), any_language=False, policy=DEFAULT_POLICY), "a", ["bread", "milk"]
        )["bread"]
        assert reader.num_failed == 0
    await blurbs.announce(["blurb", "another"])
    reports = BlurbReports(client, TENANT, 2)
    assert await reports.add("blurb", "one") == (True, False)
    assert await reports.add("blurb", "two") == (True, True)
    with pytest.raises(InvalidRequestError):
        await reports.add("never shown", "one")
    assert await reports.hidden() == {"blurb"}
    await client.aclose()
