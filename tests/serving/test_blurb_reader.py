"""Tests of what is kept of blurbs in memory, with a real store."""

import time
from collections.abc import Iterator

import pytest
import redis

from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.row import BlurbSlot
from recsys.v1.types_pb2 import BlurbOptions
from serving.blurb_ask import BlurbAsk, blurb_ask
from serving.blurb_reader import BlurbReader, Shelf
from serving.blurb_store import BlurbStore, BlurbWriter
from serving.embedded_store import embedded_store
from serving.store_clients import connect, connect_blocking
from tests.serving.test_blurbs import row

BREAD = BlurbSlot("bread", "de")


def asking(**options: object) -> BlurbAsk:
    ask = blurb_ask(BlurbOptions(**options), BlurbConfig())  # type: ignore[arg-type]  # whatever a test asks
    assert ask is not None
    return ask


ASK = asking(language_codes=["de"])


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with embedded_store() as url, redis.Redis.from_url(url) as connected:
        yield connected


@pytest.fixture
def reader(client: redis.Redis) -> BlurbReader:
    client.flushall()
    return BlurbReader(client, BlurbStore(connect("redis://nowhere", 1), "t"), "t")


def texts(reader: BlurbReader, item_id: str = "bread") -> list[str]:
    return [found.text for _, found in reader.read(ASK, "", [item_id]).get(item_id, ())]


def test_nothing_is_shown_before_the_version_is_known_or_long_after(
    reader: BlurbReader, client: redis.Redis
) -> None:
    BlurbWriter(client, "t").publish({BREAD: row("Brot.")})
    assert texts(reader) == []
    assert reader.trust(1, time.monotonic())
    assert texts(reader) == ["Brot."]
    assert not reader.trust(1, time.monotonic() - 60)  # a look that took a minute
    assert texts(reader) == []


def test_what_is_known_is_not_read_again_until_the_version_changes(
    reader: BlurbReader, client: redis.Redis
) -> None:
    writer = BlurbWriter(client, "t")
    reader.trust(0, time.monotonic())
    assert texts(reader) == []
    writer.publish({BREAD: row("Brot.")})
    assert texts(reader) == []  # known to be absent
    reader.trust(1, time.monotonic())
    assert texts(reader) == ["Brot."]
    writer.publish({BREAD: None})
    assert texts(reader) == ["Brot."]
    reader.trust(2, time.monotonic())
    assert texts(reader) == []


def test_what_was_read_before_a_change_does_not_outlive_it() -> None:
    shelf = Shelf(1)
    shelf.put("ask", {"bread": ((BREAD, row("Brot.")),)})
    assert Shelf(2).find("ask", ["bread"]) == ({}, ["bread"])
    assert shelf.find("ask", ["bread"])[1] == []


def test_memory_is_bounded() -> None:
    shelf = Shelf(1, most=4)
    for number in range(20):
        shelf.put("ask", {str(number): ()})
    found, _ = shelf.find("ask", [str(number) for number in range(20)])
    assert 1 <= len(found) <= 4
    assert "19" in found


def test_a_store_that_fails_again_and_again_is_left_alone() -> None:
    client = connect_blocking("unix:///nowhere.sock", 5)
    reader = BlurbReader(client, BlurbStore(connect("redis://nowhere", 1), "t"), "t")
    reader.trust(0, time.monotonic() + 1000)
    for _ in range(50):
        assert texts(reader) == []
    assert 5 <= reader.num_failed < 50
    assert reader.breaker.has_opened


def test_slots_go_by_language_then_segment_then_length() -> None:
    ask = asking(language_codes=["de-at", "EN", "*"], max_chars=100)
    assert ask.languages == ("de-AT", "de", "en")
    assert [(slot.language, slot.segment, slot.length) for slot in ask.slots("i", "gift")[:5]] == [
        ("de-AT", "gift", "line"),
        ("de-AT", "gift", "short"),
        ("de-AT", "", "line"),
        ("de-AT", "", "short"),
        ("de", "gift", "line"),
    ]
    assert (ask.takes("fr"), ask.takes(""), ASK.takes("fr"), ASK.takes("de-CH")) == (True, True, False, True)
