"""The demo's settings; the demo itself is run as a whole by ``make demo``."""

import io
from pathlib import Path

from rich.console import Console

from recsys.config import Config, load_config
from recsys.workspace import Workspace
from serving.demo import settle


def told(place: Workspace, *, full: bool) -> str:
    screen = io.StringIO()
    settle(Console(file=screen, width=200), place, full=full)
    return screen.getvalue()


def test_the_demo_is_lighter_than_the_defaults_and_full_takes_that_back(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "workspace")
    assert "recsys.toml" in told(place, full=False)
    lighter, defaults = load_config(place.config), Config()
    assert lighter.ranker.num_trees < defaults.ranker.num_trees
    assert lighter.encoder.num_head_steps < defaults.encoder.num_head_steps
    assert "the defaults" in told(place, full=True)
    assert load_config(place.config) == defaults


def test_settings_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.config.write_text("seed = 7\n")
    for full in (False, True):
        assert "recsys.toml" in told(place, full=full)
        assert place.config.read_text() == "seed = 7\n"
