"""Tests of moments as people read them."""

import pytest

from recsys.options import time_ms
from recsys.timestamps import iso, utc


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_512_363_600_000, "2017-12-04T05:00:00Z"),
        (1_512_363_600_001, "2017-12-04T05:00:00.001Z"),
    ],
)
def test_a_moment_is_exact_and_a_flag_takes_it(moment: int, text: str) -> None:
    assert iso(moment) == text
    assert time_ms(text, "--until") == moment == round(utc(moment).timestamp() * 1000)
