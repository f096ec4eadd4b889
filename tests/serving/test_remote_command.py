import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError, ModelConflictError
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
