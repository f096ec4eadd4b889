from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.bundle import item_vectors, text_vectors
from recsys.config import EncoderConfig
from recsys.encoder import Towers
from recsys.index import quantise
from training import vector_room


def test_many_vectors_lie_in_a_file_and_few_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.from_numpy(np.random.default_rng(0).random((100, 8), np.float32))
    few = vector_room.room(100, 8).copy_(drawn)
    monkeypatch.setattr(vector_room, "_MOST_IN_MEMORY", 3_199)
    many = vector_room.room(100, 8).copy_(drawn)
    assert torch.equal(few, many)
    assert "(deleted)" in mapped_at(many)
    assert "(deleted)" not in mapped_at(few)


def mapped_at(vectors: torch.Tensor) -> str:
    """The line of the process's mappings where a tensor lies."""
    with Path("/proc/self/maps").open(encoding="utf-8") as lines:
        for line in lines:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= vectors.data_ptr() < end:
                return line
    return ""


def test_vectors_computed_in_blocks_are_those_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.bundle._AT_ONCE", 30)
    monkeypatch.setattr("recsys.index._AT_ONCE", 7)
    torch.manual_seed(0)
    towers, base = Towers(16, EncoderConfig(dimension=8)).eval(), torch.randn(100, 16)
    np.testing.assert_array_equal(item_vectors(towers, base), quantise(text_vectors(towers, base)))
