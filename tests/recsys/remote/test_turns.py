import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recsys.event_log import READERS_LOCK
from recsys.file_lock import exclusive, shared
from recsys.log_shards import reshard
from recsys.remote import turns
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.record import remote_directory
from tests.recsys.remote.shops import Shop


def test_a_pull_that_takes_files_from_a_log_that_is_read_waits_and_holds_up_no_other(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"))
    push(one.workspace, objects)
    pull(other.workspace, objects)
    reshard(one.log.path, 2)
    one.train("v1")
    push(one.workspace, objects)
    waiting = threading.Thread(target=pull, args=(other.workspace, objects))
    with ExitStack() as training, capture_logs() as lines:
        training.enter_context(shared(other.workspace.events / READERS_LOCK))
        waiting.start()
        while not any("a training" in line.get("holder", "") for line in lines):
            assert waiting.is_alive()
            waiting.join(0.05)
        pull(other.workspace, objects, parts=["models"])
        assert other.registry.pointers().stable == "v1"
        assert waiting.is_alive()
        assert other.log.num_shards == 1
    waiting.join(30)
    assert not waiting.is_alive()
    assert other.log.num_shards == 2
    assert other.bought() == {"e1"}


def test_who_waits_for_another_push_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_SECONDS", 0.0)
    objects, one = DirectoryObjects("file:///store", tmp_path / "store"), Shop(tmp_path / "one")
    waiting = threading.Thread(target=push, args=(one.workspace, objects))
    with capture_logs() as lines:
        with exclusive(remote_directory(one.workspace) / "lock"):
            waiting.start()
            while not lines:
                waiting.join(0.05)
        waiting.join(30)
    assert [line["holder"] for line in lines] == ["another push or pull of this workspace"]
    assert not waiting.is_alive()
