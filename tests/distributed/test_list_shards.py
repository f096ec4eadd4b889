"""An index that a cluster builds is the one that this process builds."""

from pathlib import Path

import pytest

from recsys.code_lists import CodeLists
from recsys.list_shards import vectors_file, write_in_shards
from recsys.ray_runner import RayRunner
from tests.recsys.test_code_lists import VECTORS


@pytest.mark.usefixtures("cluster")
def test_two_nodes_build_the_index_that_one_process_builds(tmp_path: Path) -> None:
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    write_in_shards(CodeLists.exact(VECTORS), here)
    write_in_shards(CodeLists.exact(VECTORS), there, RayRunner(), texts_per_shard=len(VECTORS) // 4)
    for ours, theirs in ((here, there), (vectors_file(here), vectors_file(there))):
        assert ours.read_bytes() == theirs.read_bytes()
