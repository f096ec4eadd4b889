import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recsys.rules import Rule
from serving.models import Model, Models
from serving.rule_watch import RuleWatch
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import SmallPipeline

PIN = '[[rules]]\nname = "{name}"\naction = "pin"\nitem_id = "leek"\nposition = 0\n'


def watched(path: Path) -> tuple[RuleWatch, list[list[str]]]:
    """A watch, and the names of the rules that it took over, time after time."""
    taken: list[list[str]] = []

    def take(rules: Sequence[Rule]) -> None:
        taken.append([rule.name for rule in rules])

    return RuleWatch(path, take), taken


def write(path: Path, text: str, at: int) -> None:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))


def test_a_changed_file_is_taken_over_and_a_deleted_one_means_no_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    watch, taken = watched(path)
    watch.look()
    write(path, PIN.format(name="a"), 1)
    watch.look()
    watch.look()
    write(path, PIN.format(name="b"), 2)
    watch.look()
    path.unlink()
    watch.look()
    assert taken == [["a"], ["a"], ["b"], []]


def test_a_model_that_comes_with_the_rules_of_before_gets_those_of_now(tmp_path: Path) -> None:
    path, before, after = tmp_path / "rules.toml", SmallPipeline(), SmallPipeline()
    models = Models(Model(before))
    watch = RuleWatch(path, models.use_rules)
    write(path, PIN.format(name="a"), 1)
    watch.look()
    assert models.replace(before, after)
    assert not after.rules
    watch.look()
    assert [rule.name for rule in after.rules] == ["a"]


def test_a_broken_file_keeps_the_old_rules_and_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    write(path, PIN.format(name="a"), 1)
    watch, taken = watched(path)
    with capture_logs() as log:
        watch.look()
        write(path, "rules = 3 3", 2)
        watch.look()
        watch.look()
        write(path, PIN.format(name="b"), 3)
        watch.look()
    assert taken == [["a"], ["a"], ["b"]]
    assert [entry["log_level"] for entry in log] == ["info", "warning", "info"]


def test_it_looks_until_it_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    watch, taken = watched(path)

    async def change() -> None:
        task = asyncio.create_task(watch.run(every_seconds=0.001))
        write(path, PIN.format(name="a"), 1)
        async with asyncio.timeout(30):
            while not taken:
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(change())
    assert taken[0] == ["a"]


def test_a_running_server_takes_new_rules_over(tmp_path: Path) -> None:
    pipeline = SmallPipeline()
    with running_server(tmp_path, pipeline):
        write(tmp_path / "rules.toml", PIN.format(name="a"), 1)
        late = time.monotonic() + PATIENCE_SECONDS
        while not pipeline.rules and time.monotonic() < late:
            time.sleep(0.01)
    assert [rule.name for rule in pipeline.rules] == ["a"]
