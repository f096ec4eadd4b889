from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.rules import Boost, Cap, Exclude, Pin, Rule, load_rules


def written(path: Path, text: str) -> tuple[Rule, ...]:
    (path / "rules.toml").write_text(text, encoding="utf-8")
    return load_rules(path / "rules.toml")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def boost(path: Path, more: str = "") -> Rule:
    head = '[[rules]]\nname = "b"\naction = "boost"\nfactor = 2\nfilter = "brand = Farm"\n'
    return written(path, head + more)[0]


def test_a_workspace_without_a_file_has_no_rules(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "rules.toml") == ()
    assert written(tmp_path, "") == ()


def test_each_action_is_a_rule_of_its_own(tmp_path: Path) -> None:
    rules = written(
        tmp_path,
        """
        rules = [
            { name = "a", action = "boost", factor = 2, filter = "brand = Farm" },
            { name = "b", action = "exclude", filter = "brand = Isle" },
            { name = "c", action = "cap", by = "brand", most = 2, first = 10 },
            { name = "d", action = "pin", item_id = "leek", position = 0 },
        ]
        """,
    )
    assert [type(rule) for rule in rules] == [Boost, Exclude, Cap, Pin]
    assert [rule.name for rule in rules] == ["a", "b", "c", "d"]


def test_a_rule_runs_from_its_first_day_to_the_end_of_its_last(tmp_path: Path) -> None:
    rule = boost(tmp_path, "start = 2026-06-01\nend = 2026-06-30\n")
    times = ("2026-05-31T23:59:59", "2026-06-01T00:00:00", "2026-06-30T23:59:59", "2026-07-01T00:00:00")
    assert [rule.runs(ms(time)) for time in times] == [False, True, True, False]


def test_a_time_ends_a_rule_at_once_and_zones_count(tmp_path: Path) -> None:
    rule = boost(tmp_path, "start = 2026-06-01T12:00:00\nend = 2026-06-01T16:00:00+02:00\n")
    times = ("2026-06-01T11:59:59", "2026-06-01T12:00:00", "2026-06-01T13:59:59", "2026-06-01T14:00:00")
    assert [rule.runs(ms(time)) for time in times] == [False, True, True, False]


def test_a_rule_is_for_its_placements_and_attributes_only(tmp_path: Path) -> None:
    rule = boost(
        tmp_path, 'placements = ["home"]\nattributes = { country = ["NL", "BE"], device = "phone" }\n'
    )
    phone = {"country": "BE", "device": "phone", "more": "x"}
    assert rule.applies("home", phone, 0)
    assert not rule.applies("cart", phone, 0)
    assert not rule.applies("home", phone | {"country": "DE"}, 0)
    assert not rule.applies("home", {"country": "NL"}, 0)
    assert boost(tmp_path).applies("anywhere", {}, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules = 3 3", "not valid TOML"),
        ('[[rules]]\nname = "a"\naction = "hide"', "hide"),
        ('[[rules]]\nname = "a"\naction = "exclude"', "filter"),
        ('[[rules]]\nname = "a"\naction = "exclude"\nfilter = "colour = red"', "expected a column"),
        ('[[rules]]\nname = "a"\naction = "exclude"\nfilter = "brand:x"\nfactor = 2', "factor"),
        ('[[rules]]\nname = "a"\naction = "boost"\nfilter = "brand:x"\nfactor = 0.5', "greater than 1"),
        ('[[rules]]\nname = "a"\naction = "pin"\nitem_id = "x"\nposition = -1', "position"),
        (
            '[[rules]]\nname = "a"\naction = "exclude"\nfilter = "brand:x"\n'
            "start = 2026-02-01\nend = 2026-01-01",
            "start before end",
        ),
        (
            'rules = [{ name = "a", action = "pin", item_id = "x", position = 0 },'
            ' { name = "a", action = "pin", item_id = "y", position = 0 }]',
            "a more than once",
        ),
    ],
)
def test_a_file_that_makes_no_sense_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        written(tmp_path, text)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rules(tmp_path / "rules.toml")
