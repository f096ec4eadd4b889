import pytest

from recsys.errors import ConfigError
from recsys.options import time_ms


@pytest.mark.parametrize(
    "text", ["2017-12-04T05:00:00Z", "2017-12-04T05:00:00", "2017-12-04T06:00:00+01:00", "2017-12-04 05:00"]
)
def test_a_time_is_read_in_its_zone_and_without_one_in_utc(text: str) -> None:
    assert time_ms(text, "--at") == 1_512_363_600_000


def test_milliseconds_are_kept_and_a_date_is_its_midnight() -> None:
    assert time_ms("1970-01-01T00:00:00.123Z", "--at") == 123
    assert time_ms("1970-01-02", "--at") == 86_400_000


@pytest.mark.parametrize("text", ["", "yesterday", "2017-13-01", "1512363600000"])
def test_what_is_no_time_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(ConfigError, match="--until takes a time such as"):
        time_ms(text, "--until")
