import pytest
from prometheus_client import CollectorRegistry

from recsys.answer import RankedList, ServiceLevel
from serving.arm_answers import FAILED, ArmAnswers
from serving.call import Call, current_call, elapsed_ms, note_arms

ARMS = (("tuned", "treatment"), ("blurbs", "control"))


def counted(call: Call) -> dict[tuple[str, str, str], float]:
    registry = CollectorRegistry()
    ArmAnswers(registry).count(call)
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {
        (sample.labels["experiment"], sample.labels["arm"], sample.labels["outcome"]): sample.value
        for sample in samples
        if sample.name == "recsys_experiment_answers_total"
    }


@pytest.mark.parametrize("level", ServiceLevel)
def test_an_answer_counts_for_every_arm_with_its_level(level: ServiceLevel) -> None:
    call = Call("/s/Recommend", (), "id", status="OK", answer=RankedList((), level, "v"), arms=ARMS)
    assert counted(call) == {(*arm, level.value): 1 for arm in ARMS}
    call.is_later_page = True
    assert counted(call) == {}


def test_failures_of_ours_count_and_those_of_callers_do_not() -> None:
    assert counted(Call("/s/Recommend", (), "id", status="INTERNAL", arms=ARMS)) == {
        (*arm, FAILED): 1 for arm in ARMS
    }
    assert counted(Call("/s/Recommend", (), "id", status="INVALID_ARGUMENT", arms=ARMS)) == {}


def test_a_call_knows_its_arms_and_for_how_long_it_runs() -> None:
    assert elapsed_ms() is None
    note_arms(ARMS)
    call = Call("/s/Recommend", (), "id")
    token = current_call.set(call)
    try:
        note_arms(ARMS)
        note_arms(())
        assert (elapsed_ms() or -1) >= 0
    finally:
        current_call.reset(token)
    assert call.arms == ARMS
