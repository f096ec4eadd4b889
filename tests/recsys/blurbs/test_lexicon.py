"""Lexicons: what is packaged, and how a shop's own files extend it."""

from pathlib import Path

import pytest

from recsys.blurbs.lexicon import Lexicons, merged
from recsys.errors import ConfigError


def test_three_languages_are_packaged() -> None:
    assert Lexicons.load().languages == ("de", "en", "zh")


def test_a_regional_tag_finds_its_language() -> None:
    lexicons = Lexicons.load()
    assert lexicons.of("zh-Hans-CN") is lexicons.of("zh")
    assert lexicons.of("nl") is None


def test_lists_grow_maps_merge_and_entries_go() -> None:
    packaged = {"neutral": "nice fine", "claims": {"a": {"phrases": ["x"]}}, "rivals": ["can jar"]}
    own = {"neutral": ["neat"], "claims": {"a": {"phrases": ["y"]}, "b": {"phrases": ["z"]}}}
    result = merged(packaged, own | {"remove": {"neutral": ["fine"]}})
    assert result["neutral"] == ["nice", "neat"]
    assert result["claims"] == {"a": {"phrases": ["x", "y"]}, "b": {"phrases": ["z"]}}
    assert result["rivals"] == ["can jar"]


def test_a_claim_allows_what_follows_from_it() -> None:
    english = Lexicons.load().of("en")
    assert english is not None
    assert "water_resistant" in english.closure(["waterproof"])
    assert "waterproof" not in english.closure(["water_resistant"])


def test_a_shop_may_bring_a_language(tmp_path: Path) -> None:
    (tmp_path / "nl.yaml").write_text("script: latin\nstemmer: dutch\nstop_words: de het een\n")
    assert "nl" in Lexicons.load([tmp_path]).languages


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a list", "holds no map"),
        ("{", "cannot be read"),
        ("claims: {x: {policy: perhaps, phrases: [a]}}", "policy"),
        ("stemmer: klingon", "stemmer"),
    ],
)
def test_a_file_that_is_no_lexicon_is_told(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "en.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        Lexicons.load([file])


def test_the_version_follows_the_words(tmp_path: Path) -> None:
    (tmp_path / "en.yaml").write_text("neutral: [foxy]\n")
    assert Lexicons.load([tmp_path]).version != Lexicons.load().version
