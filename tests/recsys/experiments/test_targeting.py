import pytest

from recsys.experiments.targeting import TargetingError, compile_targeting

ANNA = {"country": "AT", "age": "30", "app_version": "2.10.1", "newsletter": "", "device": "phone"}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("", True),
        ("country in ['DE', 'AT']", True),
        ("country not in ['DE', 'AT']", False),
        ("country = 'AT' and not device = 'tablet'", True),
        ('country == "DE" or age >= 30', True),
        ("country = 'DE' or country = 'AT' and age < 30", False),  # and binds tighter
        ("(country = 'AT' or country = 'DE') and age < 30", False),
        ("age between 30 and 40", True),
        ("age = 30.0", True),
        ("age != '30'", False),
        ("age in [29, 30]", True),
        ("app_version >= '2.9'", True),
        ("app_version < '2.10.1'", False),
        ("app_version > '2.10.1-beta'", True),
        ("app_version between '2.10' and '2.11'", True),
        ("exists(newsletter) AND NOT exists(phone)", True),
        ("inland = 'x'", False),  # begins as "in" does
    ],
)
def test_conditions_hold_for_those_they_are_about(condition: str, *, holds: bool) -> None:
    assert compile_targeting(condition)(ANNA) is holds


@pytest.mark.parametrize(
    "condition",
    [
        "x = 'a'",
        "x != 'a'",
        "x < 3",
        "x in ['a']",
        "x not in ['a']",
        "x between 1 and 2",
        "exists(x)",
        "x > '1.0'",
    ],
)
def test_a_missing_attribute_makes_the_condition_false(condition: str) -> None:
    assert not compile_targeting(condition)({})
    assert compile_targeting(f"not ({condition})")({})


def test_what_is_no_number_fits_no_number() -> None:
    assert not compile_targeting("age < 3")({"age": "young"})
    assert not compile_targeting("age != 3")({"age": "young"})


@pytest.mark.parametrize(
    "condition",
    ["country", "country =", "= 'DE'", "a = 'b' c", "a in []", "a > 'x'", "a between 1 and 'b'", "x" * 3000],
)
def test_what_cannot_be_read_is_refused(condition: str) -> None:
    with pytest.raises(TargetingError, match="expected"):
        compile_targeting(condition)
