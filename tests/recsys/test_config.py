import re
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from recsys.candidates import SOURCES
from recsys.config import Config, ExplorationConfig, PlacementConfig, RepeatConfig, SourceName, load_config
from recsys.errors import ConfigError


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "absent.toml") == Config()


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml", required=True)


def test_a_file_holds_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text('seed = 7\n[state]\ntick = "PT30M"\nhalf_lives_days = [1, 2.5]\n')
    config = load_config(path)
    assert config.seed == 7
    assert config.state.tick == timedelta(minutes=30)
    assert config.state.half_lives_days == (1.0, 2.5)
    assert config.state.max_age_days == Config().state.max_age_days
    assert config.ranker == Config().ranker


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed = ", "TOML"),
        ("[encoder]\nstratgy = 'frozen'\n", "encoder.stratgy"),
        ("[encoder]\nstrategy = 'warm'\n", "encoder.strategy"),
        ("[ranker]\nnum_leaves = 1\n", "ranker.num_leaves"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_the_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_a_resolved_configuration_survives_json() -> None:
    config = Config(seed=3)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().seed = 1  # type: ignore[misc] # the point of the test


def test_a_placement_of_a_file_comes_beside_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text('[placements.again]\nsources = ["own"]\n')
    assert set(load_config(path).placements) == {*Config().placements, "again"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[placements.again]\nsources = ["typo"]\n', "placements.again.sources"),
        ("[placements.again]\nsources = []\n", "placements.again.sources"),
        ("[state]\nhalf_lives_days = [28, 7]\n", "state.half_lives_days"),
        ("[state]\nhalf_lives_days = [0]\n", "state.half_lives_days"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_config(path)


def test_every_source_that_can_be_configured_exists() -> None:
    assert set(get_args(SourceName)) == set(SOURCES)


def test_placements_of_bundles_trained_before_say_the_same_in_new_words() -> None:
    former = {"sources": ["similar_text"], "from_context": True, "leave_out_bought": True}
    placement = PlacementConfig.model_validate(former)
    assert (placement.starts_from, placement.bought) == ("context", "leave_out_touched")
    neither = former | {"from_context": False, "leave_out_bought": False}
    assert PlacementConfig.model_validate(neither) == PlacementConfig(sources=("similar_text",))


def test_a_stored_placement_is_read_back_as_it_was() -> None:
    exploration = ExplorationConfig(share=0.1)
    placement = PlacementConfig(sources=("own",), repeats=RepeatConfig(), exploration=exploration)
    assert PlacementConfig.model_validate_json(placement.model_dump_json()) == placement
