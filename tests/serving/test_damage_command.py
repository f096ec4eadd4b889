import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.damaged_files import DamagedFiles
from recsys.errors import ConfigError
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.workspace import Workspace
from serving.damage_command import lost_rows
from serving.log_command import log
from tests.recsys.remote.shops import Shop, new_store
from tests.recsys.test_damaged_files import flip


def damage(workspace: Workspace, append: str) -> None:
    """Let an append's file rot so that its rows can be counted still, and a start of the server find it."""
    flip(next(workspace.events.glob(f"day=*/{append}.parquet")), at=10)
    assert len(DamagedFiles(workspace.events).set_aside()) == 1


def asked(workspace: Workspace, *words: str) -> str:
    found = CliRunner().invoke(log, ["forget-damaged", "--workspace", str(workspace.root), *words])
    if isinstance(found.exception, ConfigError):
        raise found.exception
    assert found.exit_code == 0
    return found.stdout


def test_what_no_store_ever_had_is_given_up_and_the_rest_of_the_append_is_sent(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    one.buy("b", ("e3", "ann"))
    damage(one.workspace, "a")
    assert "recsys log forget-damaged" in push(one.workspace, store).left_out["log/a"]
    with pytest.raises(ConfigError, match=r"2 events, 0 logins \(files: 1\) would be lost for good.*--yes"):
        asked(one.workspace)
    assert len(DamagedFiles(one.workspace.events).aside()) == 1
    told = json.loads(asked(one.workspace, "--yes", "--json"))
    assert told == {"events": 2, "logins": 0, "unreadable_files": 0, "files": 1, "kept_for_store": 0}
    assert push(one.workspace, store).left_out == {}
    pull(other.workspace, store)
    assert other.bought() == one.bought() == {"e3"}
    assert other.log.names() == ["a", "b"]
    assert asked(one.workspace) == "nothing is set aside that no store has\n"


def test_what_a_store_has_is_not_given_up_and_comes_back(tmp_path: Path) -> None:
    store, shop = new_store(kind="file", root=tmp_path), Shop(tmp_path / "one")
    shop.buy("a", ("e1", "ann"))
    push(shop.workspace, store)
    damage(shop.workspace, "a")
    assert "1 files are in the object store; run: recsys remote pull URL" in asked(shop.workspace, "--yes")
    assert shop.bought() == set()
    pull(shop.workspace, store)
    assert shop.bought() == {"e1"}


def test_what_another_machine_sends_after_all_comes_back_though_it_was_given_up(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    for shop in (one, other):
        shop.buy("a", ("e1", "ann"))
    push(other.workspace, store)
    damage(one.workspace, "a")
    asked(one.workspace, "--yes")
    assert push(one.workspace, store).torn == {}
    pull(one.workspace, store)
    pull(other.workspace, store)
    assert one.bought() == other.bought() == {"e1"}


def test_a_file_whose_rows_nobody_can_count_is_said(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "one")
    shop.buy("a", ("e1", "ann"))
    next(shop.workspace.events.glob("day=*/*")).write_bytes(b"PAR1")
    damaged = DamagedFiles(shop.workspace.events)
    damaged.set_aside()
    assert lost_rows(damaged.aside()) == (
        "0 events, 0 logins, what 1 files held that cannot be read (files: 1)"
    )
