"""The demo's settings; the demo itself is run as a whole by ``make demo``."""

from recsys.config import Config, load_config
from serving.demo import LIGHTER


def test_the_demo_is_lighter_than_the_defaults_and_differs_in_nothing_else() -> None:
    lighter, defaults = load_config(LIGHTER, required=True), Config()
    assert lighter.ranker.num_trees < defaults.ranker.num_trees
    assert lighter.encoder.num_head_steps < defaults.encoder.num_head_steps
    same = {"encoder": defaults.encoder, "ranker": defaults.ranker}
    assert lighter.model_copy(update=same) == defaults
