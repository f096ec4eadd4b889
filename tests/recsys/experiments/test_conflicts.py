import pytest

from recsys.errors import ConfigError
from recsys.experiments.conflicts import check_together
from recsys.experiments.definition import Experiment
from tests.recsys.experiments.small_experiment import experiment


def test_experiments_of_one_layer_must_not_overlap() -> None:
    one = experiment("one", layer="l", layer_range=[0.0, 0.5])
    check_together([one, experiment("two", layer="l", layer_range=[0.5, 1.0])])
    with pytest.raises(ConfigError, match=r"layer_range.*\[0.0, 0.5\] in 'one' and \[0.4, 1.0\] in 'two'"):
        check_together([one, experiment("two", layer="l", layer_range=[0.4, 1.0])])
    with pytest.raises(ConfigError, match=r"hash: expected one for all of layer 'l'"):
        check_together([one, experiment("two", layer="l", layer_range=[0.5, 1.0], hash="growthbook_v2")])


def test_experiments_of_different_layers_must_have_their_own_salts() -> None:
    check_together([experiment("one"), experiment("two")])
    with pytest.raises(ConfigError, match=r"salt: expected another.*'s' in both 'one'.*'two'"):
        check_together([experiment("one", salt="s"), experiment("two", salt="s")])
    one, two = (
        experiment(key, salt="s", layer="l", layer_range=part)
        for key, part in (("one", [0.0, 0.5]), ("two", [0.5, 1.0]))
    )
    check_together([one, two])  # nobody is in both


def test_experiments_of_different_layers_must_change_different_things() -> None:
    def changing(key: str, **change: object) -> Experiment:
        return experiment(key, arms=[{"key": "a", "weight": 0.5}, {"key": "b", "weight": 0.5, **change}])

    diverse = {"placements": {"home": {"diversity": 0.3}}}
    one, other, model = changing("one", **diverse), changing("two", **diverse), changing("m", model="canary")
    check_together([one, model])
    with pytest.raises(ConfigError, match=r"home\.diversity in both 'one' and 'two'"):
        check_together([one, other])
