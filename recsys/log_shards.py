"""Into how many shards of users the event log is cut, and how it is cut anew."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from recsys.damaged_files import DamagedFiles
from recsys.errors import DataError
from recsys.fault_point import reach
from recsys.log_commit import Commit, write_events
from recsys.log_commits import Commits
from recsys.user_shard import UserShard
from recsys.workspace import atomic_path

MOST_SHARDS = 4096
_LAYOUT = "_layout.json"


class _Layout(BaseModel):
    """How the next appends are cut."""

    num_shards: int = Field(default=1, ge=1, le=MOST_SHARDS)


def shards_of(log: Path) -> int:
    """How many shards of users the next append to a log is cut into.

    Raises:
        DataError: The layout is damaged.
    """
    path = log / _LAYOUT
    try:
        return _Layout.model_validate_json(path.read_bytes()).num_shards
    except FileNotFoundError:
        return 1
    except ValidationError as error:
        raise DataError(f"{path} is damaged; run: recsys log reshard --shards N") from error


def reshard(log: Path, num_shards: int) -> int:
    """Cut a log into another number of shards of users; how many appends were cut anew.

    An append is the old one or the new one, and what was done is not done again after a crash: the log
    can be read in any shards meanwhile. A day of an append is in memory at a time.

    Args:
        log: Its directory.
        num_shards: From 1, the layout without shards, to ``MOST_SHARDS``.

    Raises:
        DataError: A commit or a file is damaged, or a file is gone.
    """
    commits, num_recut = Commits(log), 0
    with commits.lock():
        commits.remove_uncommitted()
        layout = _Layout(num_shards=num_shards)
        if num_shards != 1 or (log / _LAYOUT).exists():
            with atomic_path(log / _LAYOUT) as partial:
                partial.write_text(layout.model_dump_json(), encoding="utf-8")
        for name, commit in commits:
            old = [file for file in commit.first_ms if UserShard.of_file(file).count != num_shards]
            if old:
                _recut(commits, old, commit, name, num_shards)
                num_recut += 1
        commits.remove_uncommitted()
    return num_recut


def _recut(commits: Commits, old: Sequence[str], commit: Commit, name: str, num_shards: int) -> None:
    log = commits.log
    commits.require(old)
    for file in DamagedFiles(log).of(commit):
        raise DataError(f"{log / file} is not as it was written; restore it from a backup")
    days: dict[str, list[Path]] = {}
    for file in old:
        days.setdefault(file.partition("/")[0], []).append(log / file)
    after = reduce(Commit.without, old, commit)
    for files in days.values():
        events = pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)
        new = write_events(log, events, name, num_shards)
        after = after.model_copy(
            update={"first_ms": after.first_ms | new.first_ms, "digests": after.digests | new.digests}
        )
        reach("shard-written")
    commits.save(name, after)
    reach("shard-committed")
