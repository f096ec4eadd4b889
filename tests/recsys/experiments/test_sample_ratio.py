import pytest

from recsys.experiments.sample_ratio import check_sample_ratio


def test_the_published_example_is_found() -> None:
    found = check_sample_ratio({"control": 821_588, "treatment": 815_482}, {"control": 0.5, "treatment": 0.5})
    assert found.p_value == pytest.approx(1.82e-6, rel=0.01)
    assert not found.ok


def test_counts_are_compared_with_the_weights_and_not_with_equal_shares() -> None:
    assert check_sample_ratio({"a": 900, "b": 100}, {"a": 0.9, "b": 0.1}).p_value == 1.0
    assert not check_sample_ratio({"a": 500, "b": 500}, {"a": 0.9, "b": 0.1}).ok


def test_an_arm_without_weight_does_not_count() -> None:
    weights = {"a": 0.5, "b": 0.5, "c": 0.0}
    assert check_sample_ratio({"a": 510, "b": 490, "c": 77}, weights) == check_sample_ratio(
        {"a": 510, "b": 490}, {"a": 0.5, "b": 0.5}
    )


def test_nobody_and_a_lone_arm_are_no_mismatch() -> None:
    assert check_sample_ratio({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}).ok
    assert check_sample_ratio({"a": 10, "b": 0}, {"a": 1.0, "b": 0.0}).ok


def test_an_empty_arm_is_a_mismatch() -> None:
    assert not check_sample_ratio({"a": 200}, {"a": 0.5, "b": 0.5}).ok
