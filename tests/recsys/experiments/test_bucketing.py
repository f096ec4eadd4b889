"""Tests of the hashes; the pinned numbers of GrowthBook are those that its SDKs are tested with."""

import hashlib

import numpy as np
import pytest

from recsys.experiments.bucketing import (
    arm_placer,
    arm_places,
    buckets,
    growthbook_v1_places,
    growthbook_v2_places,
    layer_placer,
    layer_places,
    sha256_places,
)
from tests.recsys.experiments.small_experiment import experiment

UNITS = ["1", "007", "Zoë", "дом", "😀 u", "", "a" * 256, *(f"user-{i}" for i in range(300))]


@pytest.mark.parametrize(
    ("seed", "unit", "place"),
    [
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
        ("feature", "123", 0.5231),
        ("experiment", "1", 0.4413),
        ("holdout", "1", 0.8043),
    ],
)
def test_growthbook_v2_gives_the_published_places(seed: str, unit: str, place: float) -> None:
    assert growthbook_v2_places(seed, [unit]).tolist() == [place]


@pytest.mark.parametrize(
    ("seed", "unit", "place"),
    [
        ("", "a", 0.22),
        ("", "b", 0.077),
        ("b", "a", 0.946),
        ("ef", "d", 0.652),
        ("asdf", "8952klfjas09ujk", 0.549),
        ("", "123", 0.011),
        ("", '___)((*":&', 0.563),
        ("feature", "fds", 0.514),
    ],
)
def test_growthbooks_namespaces_are_where_it_has_them(seed: str, unit: str, place: float) -> None:
    assert growthbook_v1_places(seed, [unit]).tolist() == [place]


def test_sha256_is_the_first_53_bits_of_the_hash() -> None:
    number = int(hashlib.sha256("salt:Zoë".encode()).hexdigest()[:16], 16)
    assert sha256_places("salt", ["Zoë"]).tolist() == [(number >> 11) / 2**53]


@pytest.mark.parametrize("name", ["sha256", "growthbook_v2"])
def test_one_unit_stands_where_it_stands_among_many(name: str) -> None:
    about = experiment(hash=name, salt="s", layer="l")
    assert [arm_placer(about)(unit) for unit in UNITS] == arm_places(about, UNITS).tolist()
    assert [layer_placer(about)(unit) for unit in UNITS] == layer_places(about, UNITS).tolist()


def test_a_layer_and_a_salt_of_one_name_give_different_places() -> None:
    about = experiment(salt="same", layer="same")
    assert abs(np.corrcoef(arm_places(about, UNITS), layer_places(about, UNITS))[0, 1]) < 0.2


def test_buckets_are_ten_thousandths() -> None:
    assert buckets(np.asarray([0.0, 0.0029, 0.99999])).tolist() == [0, 29, 9999]
