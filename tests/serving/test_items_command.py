import json
from importlib.metadata import EntryPoint
from pathlib import Path

import polars as pl
import pytest

from recsys.cli import run
from recsys.schema import ITEM_ID, TITLE
from recsys.v1.types_pb2 import Item
from serving.items_command import batches
from tests.serving.running import running_server

ITEMS = [EntryPoint("items", "serving.items_command:items", "recsys.commands")]


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``recsys items``."""
    code = run(["items", *words], ITEMS)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_items_are_put_shown_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {ITEM_ID: ["figs", "grapes", "untitled"], TITLE: ["Figs", "Grapes", None]}
    pl.DataFrame(rows).write_csv(tmp_path / "items.csv")
    with running_server(tmp_path / "workspace") as address:
        code, out, _ = asked(capsys, "upsert", str(tmp_path / "items.csv"), "--address", address, "--json")
        assert code == 0
        assert json.loads(out) == {"accepted": 2, "rejected": 1, "reasons": {"title is missing": 1}}
        code, out, _ = asked(capsys, "show", "figs", "--address", address)
        assert code == 0
        assert json.loads(out) == {"item_id": "figs", "title": "Figs", "available": True}
        code, out, _ = asked(capsys, "delete", "figs", "grapes", "--address", address)
        assert (code, out) == (0, "2 items deleted, 0 were not there\n")
        code, out, err = asked(capsys, "show", "figs", "--address", address)
        assert (code, out) == (1, "")
        assert "figs" in err


def test_without_a_server_there_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = asked(capsys, "delete", "figs", "--address", "127.0.0.1:1")
    assert code == 1
    assert err.startswith("error: 127.0.0.1:1 refused, UNAVAILABLE")


def test_batches_are_as_many_and_as_large_as_a_call_may_be() -> None:
    small = [Item(item_id=f"item-{i}", title="t") for i in range(2_500)]
    assert [len(batch) for batch in batches(small)] == [1000, 1000, 500]
    large = [Item(item_id="large", title="t", description="d" * 20_000)] * 60
    sizes = [sum(item.ByteSize() for item in batch) for batch in batches(large)]
    assert len(sizes) == 3
    assert max(sizes) <= 512 * 1024
