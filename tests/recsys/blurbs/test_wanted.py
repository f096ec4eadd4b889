from pathlib import Path

import pytest

from recsys.blurbs.row import BlurbSlot
from recsys.blurbs.wanted import WantedBlurbs
from recsys.errors import BlurbError

A, B, C = BlurbSlot("a", "de"), BlurbSlot("b", "de", "gift"), BlurbSlot("c", "en")


def test_what_is_wanted_most_comes_first_and_the_least_is_forgotten(tmp_path: Path) -> None:
    wanted, other = (WantedBlurbs(tmp_path / "w.sqlite", most=2) for _ in range(2))
    wanted.add({A: 1, B: 3})
    other.add({A: 4, C: 2})
    assert wanted.most(10) == [(A, 5), (B, 3)]
    wanted.forget([A])
    assert other.most(10) == [(B, 3)]
    for each in (wanted, other):
        each.close()


def test_a_file_that_cannot_be_opened_or_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "w.sqlite").write_text("no database" * 100)
    with pytest.raises(BlurbError, match="does not open"):
        WantedBlurbs(tmp_path / "w.sqlite")
    wanted = WantedBlurbs(tmp_path / "v.sqlite")
    wanted.close()
    with pytest.raises(BlurbError, match="cannot be read or written"):
        wanted.add({A: 1})
