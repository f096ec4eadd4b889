import pytest

from recsys.errors import ConfigError
from tests.recsys.experiments.small_experiment import TEXT, edited, experiment, parsed


def test_a_definition_is_read_with_its_defaults() -> None:
    found = parsed(TEXT)
    assert (found.unit, found.hash, found.coverage, found.layer_range) == ("user", "sha256", 1.0, (0.0, 0.5))
    assert (found.control.key, found.primary.name) == ("control", "revenue_per_user")
    assert found.arms[1].placements == {"home": {"diversity": 0.3}}
    assert found.analysis.method == "fixed"
    plain = experiment("plain")
    assert (plain.salt, plain.layer, plain.layer_range) == ("plain", "plain", (0.0, 1.0))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("weight = 0.5", "weight = 0.6", ["arms: expected weights that sum to 1", "control = 0.6", "1.2"]),
        ("weight = 0.5", 'weight = "half"', ["arms[0].weight: expected a valid number, got 'half'"]),
        ("weight = 0.5", "weight = nan", ["arms[0].weight: expected", "nan"]),
        ("hypothesis", "hypotesis", ["hypotesis: expected no such key", "spelled right"]),
        ('role = "guardrail"', 'role = "primary"', ["primary"]),
        ('role = "primary"', 'role = "secondary"', ['exactly one metric with role = "primary", got none']),
        ("[0.0, 0.5]", "[0.5, 0.2]", ["layer_range: expected 0 <= from < to <= 1, got [0.5, 0.2]"]),
        ("[0.0, 0.5]", "[0.0]", ["layer_range"]),
        ("country in ['DE', 'AT']", "country in", ["targeting: expected conditions such as"]),
        ("country in ['DE', 'AT']", "age > 'old'", ["targeting: expected a number or a version"]),
        ("diversity = 0.3", "diversity = 3", ["arms[1].placements: home.diversity: expected", "got 3"]),
        ("diversity = 0.3", "divercity = 0.3", ["home.divercity: expected no such key"]),
        ("diversity = 0.3", 'starts_from = "query"', ["home.starts_from: expected no such key"]),
        ('key = "treatment"', 'key = "control"', ["expected distinct arm keys, got control"]),
        ('numerator = "clicks"', "", ["metrics[1]: expected numerator and denominator for kind 'ratio'"]),
        ('key = "tuned-text"', 'key = "../x"', ["key: expected", "'../x'"]),
        ('salt = "tuned-text-1"', 'hash = "md5"', ["hash: expected 'sha256' or 'growthbook_v2', got 'md5'"]),
        ("[analysis]", '[analysis]\nmethod = "peek"', ["analysis.method: expected", "'always_valid'"]),
        ("expected_units = 20000", 'method = "always_valid"', ["analysis: expected expected_units"]),
        ('hypothesis = "Tuned text sells more."', "= 3", ["d.toml is not valid TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected_and_what_came(
    before: str, after: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(edited((before, after)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_every_wrong_key_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(edited(("[0.0, 0.5]", "[2, 3]"), ("hypothesis", "hypotesis"), ("0.999", "7")))
    assert all(key in str(caught.value) for key in ("layer_range", "hypotesis", "metrics[0].winsorize"))


def test_the_fingerprint_is_of_what_is_defined_not_of_how_it_is_written() -> None:
    first = parsed(TEXT).fingerprint
    assert parsed("# a note\n" + TEXT.replace("\n\n", "\n")).fingerprint == first
    assert parsed(edited(("0.999", "0.99"))).fingerprint != first


def test_an_experiment_is_exposed_where_its_arms_may_differ() -> None:
    assert experiment().exposed_placements is None
    assert parsed(TEXT).exposed_placements is None  # another model ranks every list
    only_home = parsed(edited(('model = "canary"\n', "")))
    assert only_home.exposed_placements == frozenset({"home"})
    assert parsed(edited(('layer = "ranking"', 'placements = ["cart"]'))).exposed_placements == frozenset(
        {"cart"}
    )
