"""An erasure that is cut off between any two steps is finished by the next start, and nothing is left."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.schema import USER_ID
from recsys.workspace import Workspace
from serving.erasure_journal import ErasureJournal
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


@pytest.fixture(scope="module")
def act() -> Iterator[Act]:
    """Orders for ``erasure_process``: ``act("erase", root, url, "POINT:N")`` is its exit code."""
    command = [sys.executable, "-m", "tests.faults.erasure_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        orders, answers = child.stdin, child.stdout

        def order(what: str, root: Path, url: str, fault: str = "") -> int:
            orders.write(json.dumps({"act": what, "root": str(root), "url": url, "fault": fault}) + "\n")
            orders.flush()
            return int(answers.readline())

        yield order
        orders.close()


def people_of_the_log(root: Path) -> set[str]:
    return set(EventLog(Workspace(root).events).scan().select(USER_ID).collect()[USER_ID])


def pages_in(store: StoreProcess, user_id: str) -> int:
    return sum(store.ask("EXISTS", f"recsys:{TENANT}:p:{list_id}") for list_id in lists_of(user_id))


@dataclass(frozen=True)
class Shop:
    """Two people's lives as they were before any erasure, on disk and in the store."""

    store: StoreProcess
    root: Path
    values: dict[bytes, bytes]

    def restore(self, root: Path) -> Path:
        self.store.ask("FLUSHALL")
        with redis.Redis(port=self.store.port) as client:
            for key, value in self.values.items():
                client.restore(key, 900_000, value)
        return Path(shutil.copytree(self.root, root))


@pytest.fixture(scope="module")
def before(act: Act, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("before") / "shop"
    with store_process() as store:
        assert act("live", root, store.url) == 0
        assert on_disk(root)
        assert in_store(store)
        assert pages_in(store, PERSON) == 2
        with redis.Redis(port=store.port) as client:
            values = {key: client.dump(key) for key in client.scan_iter()}
        yield Shop(store, root, values)


def assert_gone(root: Path, store: StoreProcess) -> None:
    """Nothing of the person anywhere, and everything of the other."""
    assert (on_disk(root), in_store(store)) == ([], [])
    assert pages_in(store, PERSON) == 0
    assert people_of_the_log(root) == {OTHER}
    assert store.ask("EXISTS", f"recsys:{TENANT}:u:{{{TENANT}:{OTHER}}}") == 1
    assert pages_in(store, OTHER) == 2
    kept = [path for path in root.rglob("*.parquet") if OTHER.encode() in path.read_bytes()]
    places = {path.relative_to(root).parts[0] for path in kept}
    assert places == {"events", "served_lists", "users", "rejects"}


@pytest.mark.parametrize("step", STEPS)
def test_t36_an_erasure_killed_between_any_two_steps_is_finished_by_the_next_start(
    step: str, act: Act, before: Shop, tmp_path: Path, figure: Note
) -> None:
    url, kills, number = before.store.url, 0, 0
    while True:
        root = before.restore(tmp_path / str(number := number + 1))
        if (code := act("erase", root, url, f"{step}:{number}")) == 0:  # it does not come there so often
            break
        assert code == EXIT_CODE
        kills += 1
        is_pending = bool(ErasureJournal(Workspace(root)).unfinished())
        was_ordered = is_pending or PERSON not in people_of_the_log(root)
        assert was_ordered or (step, number) == ("atomic-written", 1), "else the order is not written yet"
        assert act("resume", root, url) == 0
        assert was_ordered or act("erase", root, url) == 0, "whoever got no receipt orders it again"
        assert_gone(root, before.store)
        shutil.rmtree(root)
    assert kills, "an erasure comes there"
    assert_gone(root, before.store)
    figure("T36", f"kills of an erasure at {step}, each finished by the next start", kills, "", "all")
