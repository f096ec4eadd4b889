"""An erasure that is cut off between any two of its steps is finished by the next start, and nothing is left."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.schema import USER_ID
from recsys.workspace import Workspace
from serving.erasure_journal import ErasureJournal
from serving.event_buffer import BUFFER_FILE
from tests.faults.conftest import Note
from tests.faults.erasure_process import OTHER, PERSON, TENANT, lists_of
from tests.faults.processes import StoreProcess, store_process
from tests.faults.test_privacy import in_store, on_disk

STEPS = (
    "erasure-ordered",
    "erasure-tombstoned",
    "erasure-buffer",
    "erasure-lists-known",
    "erasure-lists",
    "erasure-log",
    "erasure-tables",
    "erasure-refused",
    "erasure-files",
    "erasure-pages",
    "erasure-store",
    "erasure-store-again",
    "erasure-finished",
    "atomic-written",
    "atomic-renamed",
)
"""Points that an erasure comes to, most of them more than once."""
Act = Callable[..., int]


@contextmanager
def process() -> Iterator[Act]:
    """Orders for ``erasure_process``."""
    command = [sys.executable, "-m", "tests.faults.erasure_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        orders, answers = child.stdin, child.stdout

        def act(what: str, root: Path, url: str, fault: str = "") -> int:
            orders.write(json.dumps({"act": what, "root": str(root), "url": url, "fault": fault}) + "\n")
            orders.flush()
            return int(answers.readline())

        yield act
        orders.close()


def people_of_the_log(root: Path) -> set[str]:
    return set(EventLog(Workspace(root).events).scan().select(USER_ID).collect()[USER_ID])


def pages_in(store: StoreProcess, user_id: str) -> int:
    return sum(store.ask("EXISTS", f"recsys:{TENANT}:p:{list_id}") for list_id in lists_of(user_id))


class _Snapshot:
    """Two people's lives as they were before any erasure, on disk and in the store."""

    def __init__(self, act: Act, store: StoreProcess, root: Path) -> None:
        assert act("live", root, store.url) == 0
        self._store, self._root = store, root
        with redis.Redis(port=store.port) as client:
            self._values = {key: client.dump(key) for key in client.scan_iter()}

    def restore(self, root: Path) -> Path:
        self._store.ask("FLUSHALL")
        with redis.Redis(port=self._store.port) as client:
            for key, value in self._values.items():
                client.restore(key, 900_000, value)
        return Path(shutil.copytree(self._root, root))


def assert_gone(root: Path, store: StoreProcess) -> None:
    """Nothing of the person anywhere, and everything of the other."""
    assert (on_disk(root), in_store(store)) == ([], [])
    assert pages_in(store, PERSON) == 0
    assert people_of_the_log(root) == {OTHER}
    assert store.ask("EXISTS", f"recsys:{TENANT}:u:{{{OTHER}}}") == 1
    assert pages_in(store, OTHER) == 2
    kept = [path for path in root.rglob("*.parquet") if OTHER.encode() in path.read_bytes()]
    assert {path.relative_to(root).parts[0] for path in kept} == {
        "events",
        "served_lists",
        "users",
        "rejects",
    }
    assert OTHER.encode() in (root / "state" / BUFFER_FILE).read_bytes() or OTHER in people_of_the_log(root)


def test_t36_an_erasure_killed_between_any_two_steps_is_finished_by_the_next_start(
    tmp_path: Path, figure: Note
) -> None:
    kills, pending = 0, 0
    with process() as act, store_process() as store:
        before = _Snapshot(act, store, tmp_path / "before")
        assert on_disk(tmp_path / "before")
        assert in_store(store)
        assert pages_in(store, PERSON) == 2
        for step in STEPS:
            for number in range(1, 100):
                root = before.restore(tmp_path / f"{step}-{number}")
                code = act("erase", root, store.url, f"{step}:{number}")
                if code == 0:  # it was not reached so often
                    assert number > 1, f"an erasure comes to {step}"
                    break
                assert code == EXIT_CODE
                kills += 1
                if is_pending := bool(ErasureJournal(Workspace(root)).unfinished()):
                    pending += 1
                elif step == "atomic-written":  # before the order was there nothing was done
                    assert people_of_the_log(root) >= {PERSON, OTHER}
                assert act("resume", root, store.url) == 0
                if not is_pending and PERSON in people_of_the_log(root):
                    assert act("erase", root, store.url) == 0
                assert_gone(root, store)
                shutil.rmtree(root)
            assert_gone(root, store)
    figure("T36", "points of an erasure at which it was killed", kills, "", "every")
    figure("T36", "of them where it was pending, and finished by the next start", pending, "", "")
    figure("T36", "hits after any of them", 0, "hits", "0")
    assert pending > len(STEPS)
