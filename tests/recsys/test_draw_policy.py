import pytest

from recsys.draw_policy import DrawPolicy
from recsys.errors import DataError


@pytest.mark.parametrize("temperature", [1.0, 0.05, 1e-7, 12.5])
def test_a_policy_is_read_as_it_was_written(temperature: float) -> None:
    policy = DrawPolicy(temperature, 100, 10)
    assert DrawPolicy.read(policy.text) == policy


@pytest.mark.parametrize(
    "text",
    ["", "exploration share=0.1 pool=50", "plackett_luce pool=5", "plackett_luce temperature=1 pool=5"],
)
def test_another_policy_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="drawn by plackett_luce"):
        DrawPolicy.read(text)
