import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys.damaged_files import AsideFile, DamagedFiles
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_commits import Commits
from recsys.log_erasure import forget_erased
from recsys.log_pruning import prune_log
from recsys.schema import DAY_MS, MERGE_SCHEMA, MERGE_TIME, USER_ID, VISITOR
from recsys.tombstones import Tombstones
from tests.recsys.log_events import NOON, ids, purchases


def flip(file: Path, at: int | None = None) -> None:
    """Change one bit of a byte, of that in the middle of a file when none is named."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 if at is None else at] ^= 1
    file.write_bytes(raw)


def test_a_file_with_a_flipped_bit_is_found_and_the_others_are_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON), ("two", NOON + DAY_MS, NOON + DAY_MS)), "a")
    log.append(purchases(("three", NOON, NOON)), "b")
    assert DamagedFiles(log.path).find() == DamagedFiles(log.path).set_aside() == []
    file = "day=2024-05-02/a.parquet"
    flip(tmp_path / "events" / file)
    assert DamagedFiles(log.path).find() == [file]
    assert DamagedFiles(log.path).set_aside() == [file]
    assert ids(log.scan()) == {"one", "three"}
    assert (tmp_path / "events" / "_damaged" / file).is_file()
    commits = {path.stem: path.read_text(encoding="utf-8") for path in log.path.glob("_commits/*")}
    assert [name for name, commit in commits.items() if '"aside"' in commit] == ["a"]  # others are as ever
    assert DamagedFiles(log.path).set_aside() == []


def merged(time_ms: int) -> pl.DataFrame:
    """A visitor's login."""
    return pl.DataFrame({VISITOR: ["v"], USER_ID: ["u"], MERGE_TIME: [time_ms]}, MERGE_SCHEMA)


def test_damaged_merges_are_kept_as_long_as_what_was_appended_with_them(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a", merges=merged(NOON + DAY_MS))
    flip(tmp_path / "events" / "_merges" / "a.parquet")
    assert DamagedFiles(log.path).set_aside() == ["_merges/a.parquet"]
    aside = tmp_path / "events" / "_damaged" / "_merges" / "a.parquet"
    assert (prune_log(log.path, NOON + DAY_MS), aside.exists()) == (1, True)
    assert len(DamagedFiles(log.path).aside()) == 1
    assert (prune_log(log.path, NOON + DAY_MS + 1), aside.exists()) == (0, False)
    assert DamagedFiles(log.path).aside() == []


@pytest.mark.parametrize(
    "forget",
    [
        forget_erased,
        lambda log: prune_log(log, NOON + 9 * DAY_MS),
        lambda log: DamagedFiles(log).give_up({"a"}),
    ],
)
def test_damaged_files_that_cannot_be_removed_are_told(
    forget: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a")
    flip(tmp_path / "events" / "day=2024-05-01" / "a.parquet")
    DamagedFiles(log.path).set_aside()
    Tombstones(tmp_path).add(["u"], NOON)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", _refused)  # as a volume that became read-only
        with pytest.raises(DataError, match=r"_damaged.* cannot be: .*see that it is writable"):
            forget(log.path)
    forget(log.path)
    assert not list((tmp_path / "events" / "_damaged").rglob("*.parquet"))


_unlink = os.unlink


def _refused(path: str, **more: int) -> None:
    if Path(path).name == "a.parquet":
        raise PermissionError(f"{path} is read-only")
    _unlink(path, **more)


def test_what_is_given_up_is_counted_and_its_append_is_whole_again(tmp_path: Path) -> None:
    log, damaged = EventLog(tmp_path / "events"), DamagedFiles(tmp_path / "events")
    two = purchases(("one", NOON, NOON), ("two", NOON, NOON), ("three", NOON + DAY_MS, NOON + DAY_MS))
    log.append(two, "a", merges=merged(NOON))
    log.append(purchases(("four", NOON, NOON)), "b")
    for file in ("day=2024-05-01/a.parquet", "_merges/a.parquet"):
        flip(log.path / file, at=10)  # what comes last says how many rows there are
    (log.path / "day=2024-05-01" / "b.parquet").write_bytes(b"PAR1")
    assert len(damaged.set_aside()) == 3
    events = AsideFile("a", "day=2024-05-01/a.parquet", num_rows=2)
    logins = AsideFile("a", "_merges/a.parquet", num_rows=1)
    unreadable = AsideFile("b", "day=2024-05-01/b.parquet", num_rows=None)
    assert damaged.aside() == [events, logins, unreadable]
    assert damaged.give_up({"a"}) == [events, logins]
    assert damaged.aside() == [unreadable]
    assert [name for name, commit in Commits(log.path) if commit.aside] == ["b"]
    assert {path.stem for path in (log.path / "_damaged").rglob("*.parquet")} == {"b"}
    assert ids(log.scan()) == {"three"}


def test_who_is_killed_while_giving_up_may_do_it_again(tmp_path: Path) -> None:
    log, damaged = EventLog(tmp_path / "events"), DamagedFiles(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a")
    flip(next(log.path.glob("day=*/*")))
    [file] = damaged.set_aside()
    (log.path / "_damaged" / file).unlink()
    assert damaged.give_up({"a"}) == [AsideFile("a", file, num_rows=None)]
    assert damaged.give_up({"a"}) == damaged.aside() == []
