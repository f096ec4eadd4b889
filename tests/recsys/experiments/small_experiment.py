"""Definitions that tests change in one place each."""

from typing import Any

from recsys.experiments.definition import Experiment, parse_experiment

TEXT = """
key = "tuned-text"
hypothesis = "Tuned text sells more."
salt = "tuned-text-1"
layer = "ranking"
layer_range = [0.0, 0.5]
targeting = "country in ['DE', 'AT']"

[[arms]]
key = "control"
weight = 0.5

[[arms]]
key = "treatment"
weight = 0.5
model = "canary"
placements = { home = { diversity = 0.3 } }

[[metrics]]
name = "revenue_per_user"
role = "primary"
value = "revenue"
covariate = "revenue_before"
winsorize = 0.999

[[metrics]]
name = "click_rate"
role = "guardrail"
kind = "ratio"
numerator = "clicks"
denominator = "impressions"
margin = 0.01

[analysis]
minimum_effect = 0.02
expected_units = 20000
"""


def edited(*changes: tuple[str, str]) -> str:
    """The text with each of the first strings, which must be in it, replaced by the second."""
    text = TEXT
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


def experiment(key: str = "e", **fields: Any) -> Experiment:  # as in TOML
    """An A/A test of halves, everybody's, with some fields as given."""
    defined: dict[str, Any] = {
        "key": key,
        "arms": [{"key": "control", "weight": 0.5}, {"key": "treatment", "weight": 0.5}],
        "metrics": [{"name": "revenue", "role": "primary", "value": "revenue"}],
    }
    return Experiment.model_validate(defined | fields)


def toml(key: str = "e", *, top: str = "", treatment: str = "") -> str:
    """A definition's text, with lines at its top and in the treatment's table."""
    return f"""
key = "{key}"
{top}
[[arms]]
key = "control"
weight = 0.5
[[arms]]
key = "treatment"
weight = 0.5
{treatment}
[[metrics]]
name = "revenue"
role = "primary"
value = "revenue"
"""


def parsed(text: str) -> Experiment:
    """Read a definition's text."""
    return parse_experiment(text, "d.toml")
