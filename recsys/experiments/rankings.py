"""Rankings from files, to be interleaved: one list, or one per query, list or user."""

import json
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.experiments.interleaving import Draft, team_draft
from recsys.schema import ITEM_ID, LIST_ID, POSITION, QUERY_ID, RANK, USER_ID

_KEYS = (QUERY_ID, LIST_ID, USER_ID)
_PLACES = (RANK, POSITION)
_FORMS = (
    "a JSON array of item ids, a .txt file with one per line, or .parquet or .csv with a column item_id and "
    "possibly rank or position, and query_id, list_id or user_id"
)


def interleave(a: Path, b: Path, seed: int, limit: int | None = None) -> dict[str, Draft]:
    """Draft a list from the rankings of two files, for every key that they have.

    Args:
        a: A file of one ranking or of many, such as ``recsys recommend --output`` writes.
        b: The other.
        seed: Each list is drafted by the seed and its key.
        limit: Most items of a list.

    Raises:
        DataError: A file cannot be read, an item is twice in a ranking, or the files' keys differ.
    """
    rankings_a, rankings_b = read_rankings(a), read_rankings(b)
    if only := rankings_a.keys() ^ rankings_b.keys():
        raise DataError(
            f"expected the same lists in both files, "
            f"{len(only):,} of them are in one only, such as {min(only)!r}"
        )
    return {
        key: team_draft(ranking, rankings_b[key], f"{seed}\x1f{key}", limit)
        for key, ranking in rankings_a.items()
    }


def read_rankings(path: Path) -> dict[str, list[str]]:
    """Item ids, best first, by query, list or user; one ranking without any of these has the key ``""``.

    Raises:
        DataError: The file is of no known form, or a ranking is empty or holds an item twice.
    """
    try:
        rankings = _read(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}; expected {_FORMS}") from error
    if not any(rankings.values()):
        raise DataError(f"{path} holds no items, expected at least one")
    for key, ranking in rankings.items():
        if len(set(ranking)) < len(ranking):
            twice = next(item for item in ranking if ranking.count(item) > 1)
            where = f" of list {key!r}" if key else ""
            raise DataError(f"{path}: expected every item once, got {twice!r} again{where}")
    return rankings


def _read(path: Path) -> dict[str, list[str]]:
    if path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise ValueError("it is not an array of strings")
        return {"": found}
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return {"": [line.strip() for line in lines if line.strip()]}
    if path.suffix not in {".parquet", ".csv"}:
        raise ValueError(f"its name ends in {path.suffix or 'nothing'}")
    frame = pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)
    return _by_key(frame)


def _by_key(frame: pl.DataFrame) -> dict[str, list[str]]:
    if ITEM_ID not in frame.columns:
        raise ValueError(f"it lacks the column {ITEM_ID}")
    key = next((name for name in _KEYS if name in frame.columns), None)
    place = next((name for name in _PLACES if name in frame.columns), None)
    read = frame.select(
        (pl.col(key) if key else pl.lit("")).cast(pl.String).alias(LIST_ID),
        pl.col(ITEM_ID).cast(pl.String),
        (pl.col(place).cast(pl.Float64) if place else pl.int_range(pl.len())).alias(RANK),
    )
    if nulls := sum(column.null_count() for column in read):
        raise ValueError(f"{nulls:,} of its fields are empty")
    ordered = read.sort(RANK, maintain_order=True).group_by(LIST_ID, maintain_order=True).agg(ITEM_ID)
    lists = dict(ordered.iter_rows())
    return {name: lists[name] for name in read[LIST_ID].unique(maintain_order=True)}
