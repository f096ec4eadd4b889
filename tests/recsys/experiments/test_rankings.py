import json
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.experiments.rankings import interleave, read_rankings


def test_every_form_of_file_gives_the_same_ranking(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": ["y", "x", "z"], "rank": [2, 1, 10]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text(json.dumps(["x", "y", "z"]), encoding="utf-8")
    (tmp_path / "a.txt").write_text("x\n\ny\nz\n", encoding="utf-8")
    for form in ("parquet", "csv", "json", "txt"):
        assert read_rankings(tmp_path / f"a.{form}") == {"": ["x", "y", "z"]}


def test_lists_of_many_users_are_drafted_one_by_one(tmp_path: Path) -> None:
    for name, items in (("a", "xyxy"), ("b", "yxyx")):
        pl.DataFrame({"user_id": ["u", "u", "v", "v"], "item_id": list(items)}).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    found = [interleave(tmp_path / "a.parquet", tmp_path / "b.parquet", seed) for seed in range(20)]
    assert all(drafts.keys() == {"u", "v"} for drafts in found)
    assert any(drafts["u"] != drafts["v"] for drafts in found)
    assert found == [interleave(tmp_path / "a.parquet", tmp_path / "b.parquet", seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"x": 1}', "not an array"),
        ("a.json", "[", "cannot be read"),
        ("a.txt", "\n", "no items"),
        ("a.txt", "x\nx\n", "'x' again"),
        ("a.xml", "x", "ends in .xml"),
        ("a.csv", "id\nx\n", "lacks the column item_id"),
        ("a.csv", "item_id,rank\nx,first\n", "cannot be read"),
        ("a.csv", "item_id,rank\nx,\n", "empty"),
    ],
)
def test_what_is_wrong_with_a_ranking_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_rankings(tmp_path / name)
    assert words in str(caught.value)


def test_files_of_different_lists_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id\nu,x\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("x\n", encoding="utf-8")
    with pytest.raises(DataError, match="same lists"):
        interleave(tmp_path / "a.csv", tmp_path / "b.txt", 1)
