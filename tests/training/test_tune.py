import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import optuna
import pytest

from recsys.cli import run
from recsys.config import Config, load_config
from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT_MS
from training.tune import Searched, Trial, fragment, summary_table, tune, write_fragment
from training.tune_spaces import SPACES, as_they_are, suggested


def copy_of(workspace: Workspace, registry: Path, root: Path) -> Workspace:
    """The same data and models, to be written to."""
    copied = Workspace(root)
    for name in ("items", "events"):
        shutil.copytree(workspace.root / name, copied.root / name)
    shutil.copytree(registry, copied.registry)
    return copied


def few_steps(config: Config) -> Config:
    encoder = config.encoder.model_copy(update={"num_head_steps": 20, "num_tuning_steps": 2})
    return config.model_copy(update={"encoder": encoder})


def searched(section: str, *trials: Trial) -> Searched:
    return Searched(section, trials, max(trials, key=lambda trial: trial.value or 0.0))


def test_the_test_window_is_never_read(trained: Trained, later: Workspace, tmp_path: Path) -> None:
    registry = trained.workspace.registry
    ends_there = copy_of(trained.workspace, registry, tmp_path / "ends-there")
    goes_on = copy_of(later, registry, tmp_path / "goes-on")
    until_ms = _end_of(trained)
    ours, theirs = (
        tune(place, trials=3, until_ms=until_ms, config=trained.config, only="ranker")
        for place in (ends_there, goes_on)
    )
    assert until_ms <= CUT_MS
    assert ours == theirs
    assert len(ours[0].trials) == 3


def test_a_search_begins_with_the_settings_as_they_are_and_goes_on_where_it_stopped(
    trained: Trained, tmp_path: Path
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    (first,) = tune(workspace, trials=2, config=trained.config, only="ranker")
    assert first.trials[0].settings == as_they_are("ranker", trained.config)
    assert first.best.value is not None
    assert first.best.value >= (first.trials[0].value or 0.0)
    (more,) = tune(workspace, trials=4, config=trained.config, only="ranker")
    assert more.trials[:2] == first.trials
    assert len(more.trials) == 4
    (same,) = tune(workspace, trials=3, config=trained.config, only="ranker")
    assert same == more
    pointers = Registry(workspace.registry).pointers()
    assert pointers.stable == trained.version  # nothing is published


def test_encoder_settings_are_scored_by_what_the_text_finds(trained: Trained, tmp_path: Path) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    (found,) = tune(workspace, trials=2, config=few_steps(trained.config), only="encoder")
    assert found.section == "encoder"
    assert [trial.value for trial in found.trials] == [1.0, 1.0]  # 31 items, and 500 of them may be offered
    assert found.best.number == 0
    assert found.better(few_steps(trained.config)) == {}


@pytest.mark.parametrize("section", ["encoder", "ranker"])
def test_every_trial_is_a_valid_configuration_that_changes_its_own_section_alone(
    section: str, trained: Trained
) -> None:
    for config in (Config(), trained.config):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        for _ in range(5):
            found = suggested(study.ask(), section, config)
            assert found.model_copy(update={section: getattr(config, section)}) == config
            assert found != config


def test_settings_outside_the_bounds_widen_them() -> None:
    config = Config.model_validate({"ranker": {"num_leaves": 3, "l2": 0.0123456}})
    study = optuna.create_study()
    study.enqueue_trial(as_they_are("ranker", config))
    assert suggested(study.ask(), "ranker", config) == config


def test_the_fragment_holds_what_differs_and_loads_as_a_configuration(tmp_path: Path) -> None:
    config = Config()
    now = as_they_are("ranker", config)
    text = as_they_are("encoder", config) | {"strategy": "frozen", "learning_rate": 0.00031}
    found = [
        searched("encoder", Trial(0, 0.3, as_they_are("encoder", config)), Trial(1, 0.4, text)),
        searched("ranker", Trial(0, 0.3, now), Trial(1, 0.2, now | {"num_leaves": 7})),
    ]
    write_fragment(fragment(found, config), tmp_path / "best.toml")
    loaded = load_config(tmp_path / "best.toml")
    expected = config.encoder.model_copy(update={"strategy": "frozen", "learning_rate": 0.00031})
    assert loaded == config.model_copy(update={"encoder": expected})
    assert "ranker" not in (tmp_path / "best.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="merge"):
        write_fragment("", tmp_path / "best.toml")


def test_where_nothing_is_better_the_fragment_is_empty(tmp_path: Path) -> None:
    config = Config()
    found = [searched("ranker", Trial(0, 0.3, as_they_are("ranker", config)))]
    write_fragment(fragment(found, config), tmp_path / "best.toml")
    assert load_config(tmp_path / "best.toml") == config


def test_the_table_counts_what_was_stopped_early() -> None:
    now = as_they_are("ranker", Config())
    table = summary_table(searched("ranker", Trial(0, 0.3, now), Trial(1, None, now)))
    assert table.row_count == 1
    assert len(table.columns) == 2 + len(SPACES["ranker"])
    assert "1 of them stopped early" in str(table.caption)


def test_the_verb_refuses_to_overwrite_and_searches_of_no_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = EntryPoint("tune", "training.commands:tune", "recsys.commands")
    output = tmp_path / "best.toml"
    output.write_text("")
    assert run(["tune", "--workspace", str(tmp_path), "--output", str(output)], [verb]) == 1
    assert "best.toml exists" in capsys.readouterr().err
    assert run(["tune", "--workspace", str(tmp_path), "--trials", "0"], [verb]) == 1
    assert "--trials" in capsys.readouterr().err


def _end_of(trained: Trained) -> int:

    end_ms = EventLog(trained.workspace.events).end_ms()
    assert end_ms is not None
    return end_ms + 1
