from features import adoption
from tests.features.small_log import APPLE, BREAD, EGG, online_side


def test_each_half_life_has_the_items_rate_of_the_bundle() -> None:
    values = online_side(adoption, [])
    assert values[APPLE] == {"adoption_1d": 0, "adoption_2d": 10, "adoption_4d": 20}
    assert values[BREAD] == {"adoption_1d": 1, "adoption_2d": 11, "adoption_4d": 21}
    assert values[EGG] == {"adoption_1d": 4, "adoption_2d": 14, "adoption_4d": 24}
