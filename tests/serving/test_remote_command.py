import json
import os
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError, ModelConflictError
from recsys.log_shards import reshard
from recsys.remote.opening import open_objects
from recsys.remote.push import push
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.remote_command import remote
from tests.recsys.remote.shops import Shop
from tests.serving.small_shop import make_event


def tell(*words: str) -> dict[str, object]:
    result = CliRunner().invoke(remote, [*words, "--json"])
    if result.exception is not None:
        raise result.exception
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_who_was_erased_elsewhere_goes_from_the_buffer_of_a_server_too(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    with closing(SqliteEventBuffer(other.workspace.state / BUFFER_FILE)) as buffer:
        buffer.append([make_event("e1", user_id="ann"), make_event("e2", user_id="bob")]).result()
    one.buy("a", ("e3", "bob"))
    one.erase("ann")
    push(one.workspace, open_objects(url))
    told = tell("pull", url, "--workspace", str(other.workspace.root))
    assert (told["num_units"], told["num_erased"]) == (1, 1)
    with closing(SqliteEventBuffer(other.workspace.state / BUFFER_FILE)) as buffer:
        assert [buffered.event.event_id for buffered in buffer.since(0, 10)] == ["e2"]


def test_a_conflict_ends_the_command_with_an_error(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    for name in ("one", "other"):
        Shop(tmp_path / name).train(f"v-{name}")
    tell("push", url, "--workspace", str(tmp_path / "one"))
    with pytest.raises(ModelConflictError):
        tell("push", url, "--workspace", str(tmp_path / "other"))


@pytest.mark.parametrize("shard", ["4", "4/4", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(tmp_path: Path, shard: str) -> None:
    with pytest.raises(ConfigError, match="--shard takes I/N"):
        tell("pull", f"file://{tmp_path}", "--shard", shard, "--workspace", str(tmp_path / "one"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--only", "data", "--pointed"), "--pointed chooses among models, and --only data brings none"),
        (("--only", "models", "--shard", "0/4"), "--only models brings none; leave one out"),
    ],
)
def test_options_that_would_change_nothing_together_are_refused(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        tell("pull", f"file://{tmp_path}/store", *words, "--workspace", str(tmp_path / "one"))


def test_a_pruning_names_what_would_go_until_it_is_meant(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    one = Shop(tmp_path / "one")
    for version in ("v1", "v2", "v3"):
        one.train(version)
    push(one.workspace, open_objects(url))
    stored = tmp_path / "store" / "data" / "registry" / "bundles" / "v1"
    for path in stored.rglob("*"):
        os.utime(path, (0, 0))
    said = CliRunner().invoke(remote, ["prune", url, "--keep", "1"]).stdout
    assert "v1: " in said
    assert "bytes, pushed 1970-01-01 00:00" in said
    assert "1 models" in said
    assert "would be removed; say so with --yes; 2 stay" in said
    told = tell("prune", url, "--keep", "1", "--yes")
    assert (told["num_kept"], told["is_removed"]) == (2, True)
    assert not [path for path in stored.rglob("*") if path.is_file()]
    assert "0 models (0 bytes) removed; 2 stay" in CliRunner().invoke(remote, ["prune", url, "--yes"]).stdout


def test_a_pull_says_that_it_brought_others_events_too(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    one = Shop(tmp_path / "one")
    one.log.path.mkdir(parents=True)
    reshard(one.log.path, 2)
    one.buy("a", *((f"e{number}", str(number)) for number in range(20)))
    push(one.workspace, open_objects(url))
    words = ["pull", url, "--shard", "1/4", "--workspace", str(tmp_path / "other")]
    assert "1 files of the log hold other users' events too" in CliRunner().invoke(remote, words).stdout
