import json
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import pytest

from recsys.cli import run
from recsys.config import Config, load_config
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import EFFECTIVE_TIME, ITEM_ID, USER_ID
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT_MS, few_steps, quick_config
from training.labels import label_table
from training.tune import Searched, Trial, fragment, summary_table, tune, write_fragment
from training.tune_spaces import SPACES, as_they_are, suggested
from training.tune_trials import RankerTrials


def copy_of(workspace: Workspace, registry: Path, root: Path) -> Workspace:
    """The same data and models, to be written to."""
    copied = Workspace(root)
    for name in ("items", "events"):
        shutil.copytree(workspace.root / name, copied.root / name)
    shutil.copytree(registry, copied.registry)
    return copied


def searched(section: str, *trials: Trial) -> Searched:
    return Searched(section, trials, max(trials, key=lambda trial: trial.value or 0.0))


def test_the_test_window_is_never_read(trained: Trained, later: Workspace, tmp_path: Path) -> None:
    registry = trained.workspace.registry
    ends_there = copy_of(trained.workspace, registry, tmp_path / "ends-there")
    goes_on = copy_of(later, registry, tmp_path / "goes-on")
    until_ms = _end_of(trained)
    ours, theirs = (
        tune(place, trials=3, until_ms=until_ms, config=quick_config(trained.config), only="ranker")
        for place in (ends_there, goes_on)
    )
    assert until_ms <= CUT_MS
    assert ours == theirs
    assert len(ours[0].trials) == 3


def test_a_search_begins_with_the_settings_as_they_are_and_goes_on_where_it_stopped(
    trained: Trained, tmp_path: Path
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    (first,) = tune(workspace, trials=2, config=quick_config(trained.config), only="ranker")
    assert first.trials[0].settings == as_they_are("ranker", trained.config)
    assert first.best.value is not None
    assert first.best.value >= (first.trials[0].value or 0.0)
    (more,) = tune(workspace, trials=4, config=quick_config(trained.config), only="ranker")
    assert more.trials[:2] == first.trials
    assert len(more.trials) == 4
    (same,) = tune(workspace, trials=3, config=quick_config(trained.config), only="ranker")
    assert same == more
    pointers = Registry(workspace.registry).pointers()
    assert pointers.stable == trained.version  # nothing is published


def test_encoder_settings_are_scored_by_what_the_text_finds(trained: Trained, tmp_path: Path) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    (found,) = tune(workspace, trials=2, config=few_steps(quick_config(trained.config)), only="encoder")
    assert found.section == "encoder"
    assert [trial.value for trial in found.trials] == [1.0, 1.0]  # 31 items, and 500 of them may be offered
    assert found.best.number == 0
    assert found.better(few_steps(quick_config(trained.config))) == {}


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


def test_a_setting_of_nothing_is_where_a_search_can_begin() -> None:
    config = Config.model_validate({"ranker": {"l2": 0.0}, "encoder": {"weight_decay": 0.0}})
    for section in ("encoder", "ranker"):
        study = optuna.create_study()
        study.enqueue_trial(as_they_are(section, config))
        assert suggested(study.ask(), section, config) == config
        assert suggested(study.ask(), section, config) != config


def test_a_search_that_was_killed_in_its_first_trial_begins_with_it_again(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)

    def killed(_self: RankerTrials, _trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RankerTrials, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(workspace, trials=1, config=quick_config(trained.config), only="ranker")
    (found,) = tune(workspace, trials=1, config=quick_config(trained.config), only="ranker")
    assert [trial.settings for trial in found.trials] == [as_they_are("ranker", trained.config)]
    assert f"trial {found.best.number} is as it was" in str(summary_table(found).caption)
    assert found.best.number > 0


def test_an_encoder_is_not_tuned_on_what_people_had_before(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    end_ms = _end_of(trained)
    events = EventLog(workspace.events).scan().collect()
    firsts = events.group_by(USER_ID, ITEM_ID).agg(pl.col(EFFECTIVE_TIME).min().dt.epoch("ms").alias("first"))
    last_ms = end_ms - round(trained.config.ranker.label_window.total_seconds() * 1000)
    old = firsts.filter(pl.col("first") < last_ms).select(USER_ID, ITEM_ID)

    def repeats(*arguments: Any) -> pl.DataFrame:
        return label_table(*arguments).join(old, on=[USER_ID, ITEM_ID], how="semi")

    monkeypatch.setattr("training.tune_trials.label_table", repeats)
    with pytest.raises(DataError, match="--only ranker"):
        tune(workspace, trials=1, config=few_steps(quick_config(trained.config)), only="encoder")


def test_a_family_that_does_not_exist_is_refused_before_anything_is_searched(
    trained: Trained, tmp_path: Path
) -> None:
    state = trained.config.state.model_copy(update={"leave_out_families": ("colour",)})
    workspace = Workspace(tmp_path)
    with pytest.raises(ConfigError, match="colour"):
        tune(workspace, config=trained.config.model_copy(update={"state": state}))
    assert not workspace.reports.exists()


def test_trials_behind_another_encoder_are_another_search(trained: Trained, tmp_path: Path) -> None:
    with_bundle = copy_of(trained.workspace, trained.workspace.registry, tmp_path / "with")
    (first,) = tune(with_bundle, trials=2, config=quick_config(trained.config), only="ranker")
    manifest = Registry(with_bundle.registry).stable() / "manifest.json"
    described = json.loads(manifest.read_text(encoding="utf-8"))
    described["parts_fitted_until_ms"]["encoder"] -= 1  # as if it had been fitted on less
    manifest.write_text(json.dumps(described), encoding="utf-8")
    (second,) = tune(with_bundle, trials=1, config=quick_config(trained.config), only="ranker")
    assert (len(first.trials), len(second.trials)) == (2, 1)


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
