from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest

from recsys.errors import ConfigError
from recsys.experiments.assignment import NOBODY, assign
from recsys.experiments.book import UNTREATED, ExperimentBook
from recsys.experiments.definition import Experiment
from recsys.experiments.history import Running
from tests.recsys.experiments.small_experiment import experiment

UNITS = [f"user-{i}" for i in range(400)]
NO_ATTRIBUTES: Mapping[str, str] = {}


def book(
    *experiments: Experiment, coverage: float = 1.0, forced: Mapping[str, str] | None = None
) -> ExperimentBook:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    return ExperimentBook(Running(each, 1, coverage, started, forced=forced or {}) for each in experiments)


def changing(key: str = "e", **change: object) -> Experiment:
    return experiment(key, arms=[{"key": "control", "weight": 0.5}, {"key": "t", "weight": 0.5, **change}])


DIVERSE = changing(placements={"home": {"diversity": 0.3}})


@pytest.mark.parametrize("name", ["sha256", "growthbook_v2"])
def test_a_request_gets_the_arm_that_a_file_of_units_gets(name: str) -> None:
    about = experiment(hash=name, layer="l", layer_range=[0.0, 0.5], targeting="country = 'AT'")
    served = [book(about, coverage=0.5).treatment(unit, "home", {"country": "AT"}) for unit in UNITS]
    attributes = [{"country": "AT"}] * len(UNITS)
    keys = [
        None if arm == NOBODY else about.arms[arm].key for arm in assign(about, UNITS, 0.5, attributes).arms
    ]
    assert [dict(each.arms).get("e") for each in served] == keys
    assert 40 < sum(key is not None for key in keys) < 160


def test_an_arm_changes_the_placement_and_both_arms_are_exposed_there_only() -> None:
    found = {unit: book(DIVERSE).treatment(unit, "home", NO_ATTRIBUTES) for unit in UNITS}
    assert {(each.arms[0][1], each.parameters.get("diversity")) for each in found.values()} == {
        ("control", None),
        ("t", 0.3),
    }
    assert all(book(DIVERSE).treatment(unit, "cart", NO_ATTRIBUTES) is UNTREATED for unit in UNITS)
    assert book(DIVERSE).treatment("u", "home", NO_ATTRIBUTES, ranks_only=True) is UNTREATED


def test_control_of_a_model_experiment_gets_the_stable_model_not_a_canarys_share() -> None:
    found = {book(changing(model="canary")).treatment(unit, "cart", NO_ATTRIBUTES).model for unit in UNITS}
    assert found == {"stable", "canary"}
    assert book(changing(model="v7")).models == {"v7"}


def test_experiments_of_several_layers_work_together() -> None:
    two = changing("f", placements={"home": {"bought": "leave_out_touched"}})
    found = [book(DIVERSE, two).treatment(unit, "home", NO_ATTRIBUTES) for unit in UNITS]
    assert {tuple(sorted(each.parameters)) for each in found} == {
        (),
        ("bought",),
        ("diversity",),
        ("bought", "diversity"),
    }
    assert all([key for key, _ in each.arms] == ["e", "f"] for each in found)


def test_a_unit_that_a_holdout_keeps_out_takes_part_in_nothing_else() -> None:
    holdout = experiment("z-holdout", holdout=True)
    found = [
        dict(book(DIVERSE, holdout, coverage=0.4).treatment(unit, "home", NO_ATTRIBUTES).arms)
        for unit in UNITS
    ]
    held = [each for each in found if each.get("z-holdout") == "control"]
    assert 40 < len(held) < 120
    assert all(each == {"z-holdout": "control"} for each in held)
    assert any(each.get("e") == "t" and "z-holdout" not in each for each in found)


def test_an_arm_by_hand_goes_before_everything_and_is_marked() -> None:
    nobodys = DIVERSE.model_copy(update={"targeting": "country = 'XX'"})
    by_registry = book(nobodys, coverage=0.0, forced={"u": "t"}).treatment("u", "home", NO_ATTRIBUTES)
    by_request = book(nobodys, coverage=0.0).treatment("u", "home", {"experiment.e": "t"})
    for each in (by_registry, by_request):
        assert (each.arms, each.forced, each.parameters) == ((("e", "t"),), ("e",), {"diversity": 0.3})
    with pytest.raises(ConfigError, match="expected one of the arms control, t of 'e', got 'x'"):
        book(DIVERSE).treatment("u", "home", {"experiment.e": "x"})
    assert book(DIVERSE).treatment("u", "cart", {"experiment.other": "x"}) is UNTREATED  # not running


def test_an_empty_book_is_false_and_treats_nobody() -> None:
    assert not book()
    assert book().treatment("u", "home", NO_ATTRIBUTES) is UNTREATED


def test_arms_are_stretches_of_equal_share() -> None:
    arms = [dict(book(experiment()).treatment(unit, "home", NO_ATTRIBUTES).arms)["e"] for unit in UNITS]
    assert 140 < np.count_nonzero(np.asarray(arms) == "control") < 260
