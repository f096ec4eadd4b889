import numpy as np
import pytest

from recsys.experiments.choice_model import COLUMNS, ChoiceModel, PlantedEffect, over_visits
from recsys.experiments.metric import MetricDefinition

CHOICES = ChoiceModel(effect=0.5)
BOUGHT, LIST = {"a": 7, "b": 1}, ["b", "x", "a"]


def metric(**fields: object) -> MetricDefinition:
    return MetricDefinition.model_validate({"name": "m", **fields})


def test_chances_fall_with_the_place_and_rise_with_what_was_bought_before() -> None:
    appeal = CHOICES.appeal(BOUGHT, LIST)
    assert appeal.tolist() == pytest.approx([2.0, 1 / np.log2(3), 4 / 2])
    assert CHOICES.purchases(appeal, treated=False) == pytest.approx(0.05 * appeal)
    assert CHOICES.purchases(appeal, treated=True) == pytest.approx(0.075 * appeal)
    assert ChoiceModel(effect=99.0).purchases(appeal, treated=True).tolist() == [1.0, 1.0, 1.0]


def test_what_is_expected_is_what_draws_bring_on_average() -> None:
    appeal, prices, rng = CHOICES.appeal(BOUGHT, LIST), np.array([1.0, 2.0, 3.0]), np.random.default_rng(1)
    bought = rng.random((200_000, 2, 3)) < CHOICES.purchases(appeal, treated=True)
    expected = dict(
        zip(COLUMNS, over_visits([CHOICES.expected(appeal, prices, treated=True)] * 2), strict=True)
    )
    assert expected["impressions"] == 6
    assert expected["purchases"] == pytest.approx(bought.sum(axis=(1, 2)).mean(), rel=0.01)
    assert expected["orders"] == pytest.approx(bought.any(axis=2).sum(axis=1).mean(), rel=0.01)
    assert expected["converted"] == pytest.approx(bought.any(axis=(1, 2)).mean(), rel=0.01)
    assert expected["revenue"] == pytest.approx((bought @ prices).sum(axis=1).mean(), rel=0.01)


def test_the_truth_of_a_metric_follows_from_what_is_expected() -> None:
    appeal, prices = CHOICES.appeal(BOUGHT, LIST), np.ones(3)
    arms = [over_visits([CHOICES.expected(appeal, prices, treated=each)]) for each in (False, True)]
    planted = PlantedEffect(*arms)
    assert planted.of(metric(value="purchases", covariate="purchases_before")) == pytest.approx(
        (0.025 * appeal.sum(), 0.5)
    )
    rate = metric(kind="ratio", numerator="purchases", denominator="impressions")
    assert planted.of(rate) == pytest.approx((0.025 * appeal.sum() / 3, 0.5))
    assert planted.of(metric(value="clicks")) == pytest.approx((0.0, 0.0))
    assert planted.of(metric(value="purchases", winsorize=0.99)) is None
    assert planted.of(metric(value="likes")) is None
