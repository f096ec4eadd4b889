"""Tests of the section of recsys.toml that says how blurbs are made."""

from pathlib import Path

import pytest

from recsys.blurbs.backends.choice import make_backend
from recsys.blurbs.configuration import BlurbConfig
from recsys.config import Config, load_config
from recsys.errors import ConfigError


def test_the_default_needs_no_model_and_is_harmless() -> None:
    settings = Config().blurbs
    assert settings.backend == "extractive"
    assert len(settings.segments) <= 20
    assert make_backend(settings).model == "extractive"


@pytest.mark.parametrize(
    ("category", "is_high"),
    [
        ("Toys & Games > Puzzles", True),
        ("Whole FOODS", True),
        ("Frozen > Seafood", True),
        ("Salty Snacks", True),
        ("Candy & Gum", True),
        ("Cigarettes", True),
        ("Getränke > Rotwein", True),
        ("Kinderspielzeug", True),
        ("Süßwaren", True),
        ("母婴 > 奶粉", True),
        ("休闲零食", True),
        ("Home > Kitchen", False),
        ("Candles", False),
        ("Garden > Twine", False),
        ("Schweine & Deko", False),
        ("Fishing", False),
        ("家居 > 油烟机", False),
        ("", False),
    ],
)
def test_risky_categories_are_known_by_a_part_of_their_name(category: str, is_high: bool) -> None:
    assert BlurbConfig().is_high_risk(category) is is_high


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[blurbs]\nlength = "epic"', "expected one of line, short"),
        ('[blurbs.segments]\npious = "The reader is religious."', "nobody may be sorted"),
        ('[blurbs.segments]\n"Bad Name" = "x"', "expected a name"),
        ('[blurbs]\nfresh = "P30D"', "expected stale above"),
        (
            "[blurbs.segments]\n" + "\n".join(f'a{n} = "The reader sews."' for n in range(21)),
            "at most 20 segments",
        ),
    ],
)
def test_a_wrong_setting_is_explained(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=expected):
        load_config(path)


@pytest.mark.parametrize(("backend", "model"), [("llama", "x.gguf"), ("transformers", "nowhere")])
def test_a_model_that_is_not_there_is_said_so(backend: str, model: str) -> None:
    with pytest.raises(ConfigError, match=r"blurbs\.model"):
        make_backend(BlurbConfig.model_validate({"backend": backend, "model": model}))
