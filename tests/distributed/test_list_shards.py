"""Shards of a vector index that a cluster builds are those that this process builds."""

from pathlib import Path

import numpy as np
import pytest

from recsys.code_lists import CodeLists
from recsys.list_shards import build_shards, learn_quantisers
from recsys.ray_runner import RayRunner
from recsys.runner import LocalRunner
from tests.recsys.test_code_lists import VECTORS


@pytest.mark.usefixtures("cluster")
def test_two_nodes_build_the_shards_that_one_process_builds(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", VECTORS)
    learn_quantisers(CodeLists.exact(VECTORS[::4]), tmp_path)
    there = build_shards(RayRunner(), tmp_path / "vectors.npy", tmp_path, 4)
    here = build_shards(LocalRunner(), tmp_path / "vectors.npy", tmp_path, 4)
    for ours, theirs in zip(here.shards, there.shards, strict=True):
        for name in ("codes", "short", "starts", "texts"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
