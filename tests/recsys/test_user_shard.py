import os
import subprocess
import sys

import polars as pl
import pytest

from recsys.user_shard import ALL_USERS, UserShard, every_shard, shard_number, shard_numbers


def test_a_user_belongs_to_the_same_shard_for_ever() -> None:
    ids = ["ann", "bob", "", "ü"]
    assert [shard_number(one, 16) for one in ids] == [5, 2, 4, 7]
    assert shard_numbers(pl.Series(ids), 4).to_list() == [1, 2, 0, 3]


def test_another_process_with_another_hash_seed_says_the_same() -> None:
    code = "from recsys.user_shard import shard_number as n; print(n('ann', 4096), n('bob', 4096))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [str(shard_number(one, 4096)) for one in ("ann", "bob")]


def test_every_user_is_in_one_shard_and_the_shards_are_about_as_large() -> None:
    users = pl.DataFrame({"u": [f"user{i}" for i in range(8000)]})
    sizes = [users.filter(shard.has(pl.col("u"))).height for shard in every_shard(8)]
    assert sum(sizes) == 8000
    assert max(sizes) < 1.2 * 1000


def test_a_shard_knows_which_files_may_hold_its_users() -> None:
    halves, quarters = every_shard(2), every_shard(4)
    assert [halves[1].shares_users_with(quarter) for quarter in quarters] == [False, True, False, True]
    assert all(ALL_USERS.shares_users_with(shard) for shard in (*halves, *quarters))
    assert UserShard.of_file("day=2024-05-01/a" + quarters[3].suffix) == quarters[3]
    assert UserShard.of_file("day=2024-05-01/a.parquet") == ALL_USERS


def test_there_is_no_shard_beyond_the_last() -> None:
    with pytest.raises(ValueError, match="from 0 to 3"):
        UserShard(4, 4)
