from pathlib import Path

import numpy as np
import pytest

from recsys.errors import CatalogueError
from recsys.live_parts import TextVectors
from recsys.text_vector_cache import TextVectorCache

VECTORS = TextVectors(np.asarray([1, -2, 127], np.int8), np.asarray([-128, 5], np.int8))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text-vectors.sqlite"


def test_what_one_process_read_another_finds(path: Path) -> None:
    ours, theirs = TextVectorCache(path), TextVectorCache(path)
    ours.keep("v1", {"red tea": VECTORS})
    found = theirs.find("v1", ["red tea", "green tea"])
    assert list(found) == ["red tea"]
    assert [part.tolist() for part in found["red tea"]] == [part.tolist() for part in VECTORS]
    assert theirs.find("v2", ["red tea"]) == {}


def test_one_at_a_time_has_its_turn(path: Path) -> None:
    ours, theirs = TextVectorCache(path), TextVectorCache(path)
    assert ours.take_turn("v1", "we", 1000.0)
    assert not theirs.take_turn("v1", "they", 1000.0)
    assert ours.take_turn("v1", "we", 1000.0)
    assert theirs.take_turn("v2", "they", 1000.0)
    ours.end_turn("v1", "we")
    assert theirs.take_turn("v1", "they", 1000.0)


def test_the_turn_of_somebody_who_vanished_ends(path: Path) -> None:
    ours, theirs = TextVectorCache(path), TextVectorCache(path)
    assert ours.take_turn("v1", "we", -1.0)
    assert theirs.take_turn("v1", "they", 1000.0)


def test_a_closed_cache_says_so(path: Path) -> None:
    cache = TextVectorCache(path)
    cache.close()
    with pytest.raises(CatalogueError):
        cache.find("v1", ["red tea"])
