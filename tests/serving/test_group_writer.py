"""Tests of the thread that writes in groups."""

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from serving import group_writer as module
from serving.group_writer import MAX_GROUP, GroupWriter
from tests.serving.running import PATIENCE_SECONDS


class AwayError(Exception):
    """Nothing can be written for now."""


class Shelf:
    """Where things are written to: refuses what is ``bad``, and everything while it is ``away``."""

    def __init__(self) -> None:
        self.things: dict[str, str] = {}
        self.sizes: list[int] = []
        self.away = False
        self.wrote = threading.Event()

    def write(self, group: Mapping[str, str]) -> None:
        if self.away:
            raise AwayError("gone")
        self.sizes.append(len(group))
        if "bad" in group.values():
            raise ValueError("not to be written")
        self.things |= group
        self.wrote.set()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def opened(shelf: Shelf) -> Iterator[Callable[..., GroupWriter[str]]]:
    def open_writer(group_seconds: float = 0.0, max_waiting: int = 10_000) -> GroupWriter[str]:
        made.append(
            GroupWriter(
                "things", shelf.write, (AwayError,), group_seconds=group_seconds, max_waiting=max_waiting
            )
        )
        return made[-1]

    made: list[GroupWriter[str]] = []
    yield open_writer
    for writer in made:
        writer.close()


def test_what_is_handed_over_is_written_without_being_asked_for(
    shelf: Shelf, opened: Callable[..., GroupWriter[str]]
) -> None:
    writer = opened()
    assert writer.add("a", "one")
    assert shelf.wrote.wait(PATIENCE_SECONDS)
    writer.flush()
    assert (shelf.things, writer.get("a"), writer.num_lost) == ({"a": "one"}, None, 0)


def test_a_thing_that_cannot_be_written_takes_no_other_with_it(
    shelf: Shelf, opened: Callable[..., GroupWriter[str]]
) -> None:
    writer = opened(group_seconds=PATIENCE_SECONDS)
    keys = [str(number) for number in range(100)]
    for key in keys:
        writer.add(key, "bad" if key in {"7", "8", "63"} else "good")
    writer.flush()
    assert shelf.things.keys() == set(keys) - {"7", "8", "63"}
    assert writer.num_lost == 3
    assert len(shelf.sizes) < 50
    writer.add("later", "good")
    writer.flush()
    assert "later" in shelf.things


def test_the_thread_outlives_what_cannot_be_written(
    shelf: Shelf, opened: Callable[..., GroupWriter[str]]
) -> None:
    writer = opened()
    writer.add("a", "bad")
    writer.flush()
    writer.add("b", "good")
    assert shelf.wrote.wait(PATIENCE_SECONDS)
    assert writer.num_lost == 1


def test_things_wait_while_nothing_can_be_written_and_then_come(
    shelf: Shelf, opened: Callable[..., GroupWriter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    shelf.away = True
    writer = opened(max_waiting=2)
    assert [writer.add(key, "good") for key in "abc"] == [True, True, False]
    with pytest.raises(AwayError):
        writer.flush()
    assert (writer.get("a"), writer.num_lost) == ("good", 1)
    shelf.away = False
    assert shelf.wrote.wait(PATIENCE_SECONDS)
    assert shelf.things.keys() == {"a", "b"}


def test_groups_are_bounded(shelf: Shelf, opened: Callable[..., GroupWriter[str]]) -> None:
    writer = opened(group_seconds=PATIENCE_SECONDS)
    for number in range(MAX_GROUP + 1):
        writer.add(str(number), "good")
    writer.flush()
    assert shelf.sizes == [MAX_GROUP, 1]


def test_closing_writes_what_waits_and_counts_what_it_cannot(
    shelf: Shelf, opened: Callable[..., GroupWriter[str]]
) -> None:
    one, other = opened(PATIENCE_SECONDS), opened(PATIENCE_SECONDS)
    one.add("a", "good")
    one.close()
    one.close()
    assert shelf.things == {"a": "good"}
    shelf.away = True
    other.add("b", "good")
    other.close()
    assert other.num_lost == 1
