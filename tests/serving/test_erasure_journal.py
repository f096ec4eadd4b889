"""Tests of the erasures that are still to be done."""

from pathlib import Path

import pytest

from recsys.errors import DataError
from recsys.workspace import Workspace
from serving.erasure_journal import ErasureJournal


def test_what_another_process_finishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    journal = ErasureJournal(Workspace(tmp_path))
    first, second = journal.begin(("a",), 1), journal.begin(("b",), 2)
    gone = tmp_path / "privacy" / "pending" / f"{second.receipt_id}.json"
    journal.finish(second)
    gone.symlink_to(tmp_path / "nowhere")  # listed, and not there when it is read
    assert journal.unfinished() == [first]


def test_a_damaged_order_is_told(tmp_path: Path) -> None:
    journal = ErasureJournal(Workspace(tmp_path))
    erasure = journal.begin(("a",), 1)
    (tmp_path / "privacy" / "pending" / f"{erasure.receipt_id}.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="is damaged; order the erasure again"):
        journal.unfinished()
