"""Tests of who answers whom."""

from recsys.registry import Pointers
from serving.event import BufferedEvent
from serving.models import Lineup, Model, Models
from tests.serving.small_shop import SmallPipeline, make_event

USERS = [f"user-{number}" for number in range(4000)]


def with_canary(percent: float, version: str = "new") -> Models:
    models = Models(Model(SmallPipeline("old")))
    models.lineup = Lineup(models.lineup.stable, canary=Model(SmallPipeline(version)), canary_percent=percent)
    return models


def chosen(models: Models) -> set[str]:
    return {user for user in USERS if models.choose(user).version != "old"}


def test_a_canary_answers_its_share_of_the_users_within_a_binomial_interval() -> None:
    for percent in (1.0, 10.0, 50.0):
        expected = len(USERS) * percent / 100
        deviation = (expected * (1 - percent / 100)) ** 0.5
        assert abs(len(chosen(with_canary(percent))) - expected) < 4 * deviation
    assert not chosen(with_canary(0.0))
    assert len(chosen(with_canary(100.0))) == len(USERS)


def test_a_user_stays_with_the_canary_when_its_share_grows() -> None:
    assert chosen(with_canary(10.0)) == chosen(with_canary(10.0))
    assert chosen(with_canary(10.0)) < chosen(with_canary(20.0))


def test_another_canary_answers_other_users() -> None:
    one, other = chosen(with_canary(10.0)), chosen(with_canary(10.0, "newer"))
    assert len(one & other) < len(one) / 2


def test_nobody_in_particular_is_answered_by_the_stable_model() -> None:
    assert with_canary(100.0).choose(None).version == "old"


def test_models_count_from_where_they_are() -> None:
    events = [BufferedEvent(number, make_event(f"e{number}")) for number in (3, 4, 5)]
    late, early = SmallPipeline("late"), SmallPipeline("early")
    models = Models(Model(late, counted=4))
    models.lineup = Lineup(models.lineup.stable, shadow=Model(early, counted=2))
    assert models.counted == 2
    models.count(events)
    assert (len(late.recorded), len(early.recorded), models.counted) == (1, 3, 5)


def test_a_stable_model_that_is_not_loaded_leaves_the_old_one_and_an_old_canary_is_let_go() -> None:
    models = with_canary(10.0)
    loaded = {model.pipeline.version: model for model in models.lineup.models()}
    models.arrange(Pointers(stable="missing", previous="old"), loaded)
    assert models.stable.version == "old"
    assert models.find("new") is None
    models.arrange(Pointers(stable="old"), loaded, {"new"})
    assert models.find("new") is not None


def test_a_pipeline_is_replaced_in_every_part_that_it_plays() -> None:
    models = with_canary(100.0)
    old = models.lineup.stable.pipeline
    models.lineup = Lineup(models.lineup.stable, shadow=models.lineup.stable)
    changed = SmallPipeline("old")
    assert models.replace(old, changed)
    assert models.stable is changed
    assert models.lineup.shadow is models.lineup.stable
    assert not models.replace(old, changed)
