import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.schema import (
    DAY_MS,
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    MERGE_SCHEMA,
    MERGE_TIME,
    RECEIVED_TIME,
    USER_ID,
    VISITOR,
)
from recsys.tombstones import Tombstones

NOON = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000


def events(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """Purchases of (event id, event time, received time)."""
    ids, happened, received = zip(*rows, strict=True) if rows else ((), (), ())
    frame = pl.DataFrame(
        {EVENT_ID: ids, EVENT_TIME: happened, RECEIVED_TIME: received},
        {
            EVENT_ID: pl.String,
            EVENT_TIME: EVENT_SCHEMA[EVENT_TIME],
            RECEIVED_TIME: EVENT_SCHEMA[RECEIVED_TIME],
        },
    ).with_columns(
        pl.lit("purchase").alias(EVENT_TYPE), pl.lit("u").alias(USER_ID), pl.lit("i").alias(ITEM_ID)
    )
    return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), frame], how="diagonal")


def ids(frame: pl.LazyFrame) -> set[str]:
    return set(frame.collect()[EVENT_ID])


def test_an_empty_log_has_no_events_and_no_end(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    scanned = log.scan().collect()
    assert scanned.height == 0
    assert dict(scanned.schema) == {**EVENT_SCHEMA, EFFECTIVE_TIME: EVENT_SCHEMA[EVENT_TIME]}
    assert log.scan(NOON).collect().height == 0
    assert log.end_ms() is None
    assert log.event_ids().to_list() == []


def test_the_effective_time_is_the_earlier_of_the_two(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(("late", NOON, NOON + HOUR), ("early", NOON + HOUR, NOON - 1)), "a")
    times = log.scan().sort(EVENT_ID).collect()[EFFECTIVE_TIME].dt.timestamp("ms").to_list()
    assert times == [NOON - 1, NOON]
    assert log.end_ms() == NOON


def test_an_event_is_visible_strictly_after_its_effective_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(("a", NOON, NOON), ("b", NOON + 1, NOON + 1), ("c", NOON + 48 * HOUR, NOON - 1)), "a")
    assert ids(log.scan(NOON)) == {"c"}
    assert ids(log.scan(NOON + 1)) == {"a", "c"}
    assert ids(log.scan(NOON + 2)) == {"a", "b", "c"}
    assert ids(log.scan(NOON - 1)) == set()


def test_events_lie_in_the_partition_of_their_day(tmp_path: Path) -> None:
    EventLog(tmp_path).append(events(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON)), "first")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet"))
    assert files == ["day=2024-05-01/first.parquet", "day=2024-05-02/first.parquet"]


def test_what_was_appended_comes_back_unchanged(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    before = events(("a", NOON, NOON), ("b", NOON + 30 * HOUR, NOON + 30 * HOUR))
    log.append(before, "a")
    assert log.scan().drop(EFFECTIVE_TIME).sort(EVENT_ID).collect().equals(before)


def test_appending_a_name_twice_adds_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(("a", NOON, NOON)), "same")
    log.append(events(("b", NOON, NOON)), "same")
    log.append(events(("c", NOON + 1, NOON + 1)), "other")
    assert sorted(log.event_ids()) == ["a", "c"]
    assert log.end_ms() == NOON + 1


def test_appending_nothing_is_remembered_by_its_name(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(), "empty")
    log.append(events(("a", NOON, NOON)), "empty")
    assert log.scan().collect().height == 0
    assert log.end_ms() is None


def test_a_half_written_append_is_invisible_and_the_next_one_removes_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(("a", NOON, NOON)), "whole")
    half = tmp_path / "day=2024-05-01" / "half.parquet"
    events(("x", NOON, NOON)).write_parquet(half)
    scratch = half.parent / ".half.parquet.abc"
    scratch.mkdir()
    (scratch / "half.parquet").write_bytes(b"PAR1")
    assert ids(log.scan()) == {"a"}
    log.append(events(("b", NOON, NOON)), "next")
    assert ids(log.scan()) == {"a", "b"}
    assert not half.exists()
    assert not scratch.exists()


def test_an_append_that_fails_leaves_nothing_visible_and_can_be_repeated(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    blocked = tmp_path / "day=2024-05-02"
    blocked.write_text("a file where a directory must go")
    with pytest.raises(FileExistsError):
        log.append(events(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON + 24 * HOUR)), "both")
    assert log.scan().collect().height == 0
    blocked.unlink()
    log.append(events(("a", NOON, NOON), ("b", NOON + 24 * HOUR, NOON + 24 * HOUR)), "both")
    assert ids(log.scan()) == {"a", "b"}


def test_a_lost_file_and_a_damaged_commit_are_errors_of_the_data(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(events(("a", NOON, NOON)), "a")
    file = tmp_path / "day=2024-05-01" / "a.parquet"
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"a\.parquet"):
        log.scan()
    (tmp_path / "_commits" / "a.json").write_text('{"first_ms"')
    with pytest.raises(DataError, match=r"a\.json"):
        log.end_ms()


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a" * 201])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="append name"):
        EventLog(tmp_path).append(events(("a", NOON, NOON)), name)


def test_a_frame_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="EVENT_SCHEMA"):
        EventLog(tmp_path).append(events(("a", NOON, NOON)).drop(USER_ID), "a")


def test_pruning_removes_whole_days_and_may_be_repeated(tmp_path: Path) -> None:
    log, last = EventLog(tmp_path / "events"), NOON + 3 * DAY_MS
    log.append(events(("old", NOON, NOON), ("new", last, last)), "a")
    assert (log.prune(last), log.prune(last)) == (1, 0)
    assert ids(log.scan()) == {"new"}
    assert len(list((tmp_path / "events").glob("day=*/*.parquet"))) == 1


def test_what_an_erased_user_did_is_not_read_and_does_not_come_back(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("before", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["u"], NOON)
    assert ids(log.scan()) == set()
    log.append(events(("replayed", NOON, NOON), ("after", NOON + 1, NOON + 1)), "b")
    assert ids(log.scan()) == {"after"}
    assert (log.forget_erased(), log.forget_erased()) == (["before"], [])
    assert ids(log.scan()) == {"after"}


def test_without_its_key_nobody_can_tell_who_was_erased_so_nothing_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("one", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["somebody"], NOON)
    (tmp_path / "privacy" / "digests.key").unlink()
    with pytest.raises(ConfigError):
        EventLog(tmp_path / "events").scan()


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def test_a_file_with_a_flipped_bit_is_found_and_the_others_are_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("one", NOON, NOON), ("two", NOON + DAY_MS, NOON + DAY_MS)), "a")
    log.append(events(("three", NOON, NOON)), "b")
    assert log.damaged() == log.set_aside_damaged() == []
    file = "day=2024-05-02/a.parquet"
    flip(tmp_path / "events" / file)
    assert log.damaged() == [file]
    assert log.set_aside_damaged() == [file]
    assert ids(log.scan()) == {"one", "three"}
    assert (tmp_path / "events" / "_damaged" / file).is_file()
    commits = {path.stem: path.read_text(encoding="utf-8") for path in log.path.glob("_commits/*")}
    assert [name for name, commit in commits.items() if '"aside"' in commit] == ["a"]  # others are as ever
    assert log.set_aside_damaged() == []


def merged(time_ms: int) -> pl.DataFrame:
    """A visitor's login."""
    return pl.DataFrame({VISITOR: ["v"], USER_ID: ["u"], MERGE_TIME: [time_ms]}, MERGE_SCHEMA)


def test_damaged_merges_are_kept_as_long_as_what_was_appended_with_them(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("one", NOON, NOON)), "a", merges=merged(NOON + DAY_MS))
    flip(tmp_path / "events" / "_merges" / "a.parquet")
    assert log.set_aside_damaged() == ["_merges/a.parquet"]
    aside = tmp_path / "events" / "_damaged" / "_merges" / "a.parquet"
    assert (log.prune(NOON + DAY_MS), aside.exists()) == (1, True)
    assert (log.prune(NOON + DAY_MS + 1), aside.exists()) == (0, False)


@pytest.mark.parametrize("forget", [EventLog.forget_erased, lambda log: log.prune(NOON + 9 * DAY_MS)])
def test_damaged_files_that_cannot_be_removed_are_told(
    forget: Callable[[EventLog], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("one", NOON, NOON)), "a")
    flip(tmp_path / "events" / "day=2024-05-01" / "a.parquet")
    log.set_aside_damaged()
    Tombstones(tmp_path).add(["u"], NOON)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", _refused)  # as a volume that became read-only
        with pytest.raises(DataError, match=r"_damaged.* cannot be: .*see that it is writable"):
            forget(log)
    forget(log)
    assert not list((tmp_path / "events" / "_damaged").rglob("*.parquet"))


_unlink = os.unlink


def _refused(path: str, **more: int) -> None:
    if Path(path).name == "a.parquet":
        raise PermissionError(f"{path} is read-only")
    _unlink(path, **more)


def test_what_is_rewritten_without_somebody_is_not_damaged(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(("one", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["u"], NOON)
    assert log.forget_erased() == ["one"]
    assert log.damaged() == []
