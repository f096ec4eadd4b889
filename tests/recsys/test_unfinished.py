"""Tests of what crashes leave of files that were being written."""

import subprocess
import sys
from pathlib import Path

from recsys.fault_point import EXIT_CODE
from recsys.unfinished import remove_unfinished, scratch_beside
from recsys.workspace import atomic_path

WRITE = """
import os, sys
from pathlib import Path
os.environ["RECSYS_FAULT"] = "atomic-written:1"
from recsys.workspace import atomic_path
with atomic_path(Path(sys.argv[1])) as partial:
    partial.write_text("somebody")
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "table.parquet"
    killed = subprocess.run([sys.executable, "-c", WRITE, str(target)], check=False)
    assert killed.returncode == EXIT_CODE
    assert not target.exists()
    [left] = [path for path in tmp_path.rglob("table.parquet") if path.is_file()]
    (tmp_path / ".lock").touch()
    (tmp_path / ".hidden.directory").mkdir()
    assert remove_unfinished(tmp_path) == 1
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden.directory", ".lock", "deep"]
    assert remove_unfinished(tmp_path / "absent") == 0


def test_what_is_being_written_now_is_left_alone(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "table.parquet") as partial:
        partial.write_text("somebody")
        assert remove_unfinished(tmp_path) == 0
    assert (tmp_path / "table.parquet").read_text() == "somebody"
    assert list(tmp_path.iterdir()) == [tmp_path / "table.parquet"]


def test_a_scratch_directory_ends_with_its_block(tmp_path: Path) -> None:
    with scratch_beside(tmp_path / "x") as scratch:
        (scratch / "part").touch()
    assert list(tmp_path.iterdir()) == []
