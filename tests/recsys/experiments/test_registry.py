from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.experiments.registry import ExperimentRegistry
from recsys.workspace import Workspace
from tests.recsys.experiments.small_experiment import toml


@pytest.fixture
def registry(tmp_path: Path) -> ExperimentRegistry:
    return ExperimentRegistry(Workspace(tmp_path))


def test_a_start_freezes_the_definition_word_for_word(registry: ExperimentRegistry) -> None:
    text = "# a note\n" + toml(top="coverage = 0.1")
    started = registry.start(text, "d.toml", reason="go")
    assert registry.path("e", 1).read_text(encoding="utf-8") == text
    assert (started.version, started.coverage, started.is_running) == (1, 0.1, True)
    [entry] = registry.audit()
    assert (entry.action, entry.key, entry.version, entry.reason) == ("start", "e", 1, "go")
    assert entry.fingerprint == started.experiment.fingerprint
    assert entry.by
    assert entry.time.utcoffset() is not None


def test_an_edit_of_a_running_experiment_is_refused_in_words(registry: ExperimentRegistry) -> None:
    registry.start(toml(), "d.toml")
    with pytest.raises(ConfigError, match="runs already, as version 1"):
        registry.start(toml(), "d.toml")
    with pytest.raises(ConfigError, match=r"differs in salt.*Stop it first.*version 2.*ramp e"):
        registry.start(toml(top='salt = "s2"'), "d.toml")
    assert len(registry.audit()) == 1


def test_an_edit_after_a_stop_is_a_new_version_and_the_same_again_is_none(
    registry: ExperimentRegistry,
) -> None:
    registry.start(toml(), "d.toml")
    stopped = registry.stop("e", reason="harm", by="auto-stop")
    assert (stopped.is_running, stopped.reason, registry.running()) == (False, "harm", [])
    assert registry.audit()[-1].by == "auto-stop"
    assert registry.start(toml(top='salt = "s2"'), "d.toml").version == 2
    registry.stop("e")
    assert registry.start(toml(top='salt = "s2"'), "d.toml").version == 2
    assert [entry.action for entry in registry.audit()] == ["start", "stop", "start", "stop", "start"]


def test_a_ramp_only_ever_takes_more(registry: ExperimentRegistry) -> None:
    registry.start(toml(top="coverage = 0.1"), "d.toml")
    assert registry.ramp("e", 0.5).coverage == 0.5
    for coverage in (0.2, 0.5, 1.1):
        with pytest.raises(ConfigError, match=r"expected a coverage above 0\.5, up to 1"):
            registry.ramp("e", coverage)
    assert registry.find("e").experiment.coverage == 0.1


def test_what_does_not_run_cannot_be_ramped_stopped_or_forced(registry: ExperimentRegistry) -> None:
    with pytest.raises(ConfigError, match="no experiment 'e'; started were: none yet"):
        registry.ramp("e", 1.0)
    registry.start(toml(), "d.toml")
    registry.stop("e")
    with pytest.raises(ConfigError, match="does not run"):
        registry.ramp("e", 1.0)
    with pytest.raises(ConfigError, match="does not run"):
        registry.stop("e")
    with pytest.raises(ConfigError, match="does not run"):
        registry.force("e", "u", None)


def test_arms_by_hand_are_kept_until_they_are_taken_back(registry: ExperimentRegistry) -> None:
    registry.start(toml(), "d.toml")
    assert registry.force("e", "u", "treatment").forced == {"u": "treatment"}
    with pytest.raises(ConfigError, match="expected one of the arms control, treatment of 'e', got 'x'"):
        registry.force("e", "u", "x")
    assert registry.force("e", "u", None).forced == {}


def test_a_definition_that_was_edited_under_way_is_not_read(registry: ExperimentRegistry) -> None:
    registry.start(toml(), "d.toml")
    registry.path("e", 1).write_text(toml(top='salt = "x"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"1\.toml was edited after it started: its hash was"):
        registry.running()


def test_overlapping_experiments_cannot_run_at_once(registry: ExperimentRegistry) -> None:
    registry.start(toml("one", top='layer = "l"\nlayer_range = [0.0, 0.5]'), "d.toml")
    with pytest.raises(ConfigError, match="do not overlap"):
        registry.start(toml("two", top='layer = "l"\nlayer_range = [0.25, 1.0]'), "d.toml")
    registry.stop("one")
    registry.start(toml("two", top='layer = "l"\nlayer_range = [0.25, 1.0]'), "d.toml")


def test_servers_assign_users_only(registry: ExperimentRegistry) -> None:
    with pytest.raises(ConfigError, match="expected \"user\", got 'session'"):
        registry.start(toml(top='unit = "session"'), "d.toml")


def test_a_line_that_a_crash_cut_off_is_none_and_a_damaged_one_is_told(registry: ExperimentRegistry) -> None:
    registry.start(toml(), "d.toml")
    with registry.audit_file.open("ab") as file:
        file.write(b'{"time": "2026')
    assert [entry.action for entry in registry.audit()] == ["start"]
    registry.stop("e")
    assert [entry.action for entry in registry.audit()] == ["start", "stop"]
    registry.audit_file.write_bytes(b"nonsense\n" + registry.audit_file.read_bytes())
    with pytest.raises(ConfigError, match="line 1 of the audit log"):
        registry.running()
