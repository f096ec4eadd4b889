"""Recommending and ranking for whole files, with the pipeline that the server runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from recsys.answer import Query, RankedList, ServiceLevel
from recsys.columns import REASON, conform
from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.item_filter import compile_filter
from recsys.pipeline import Pipeline
from recsys.progress import progress
from recsys.registry import Registry
from recsys.runner import Runner, even_parts
from recsys.schema import (
    CONTEXT_ITEM_IDS,
    EVENT_TIME,
    ITEM_ID,
    LIST_ID,
    POSITION,
    QUERY_ID,
    RANK,
    SCORE,
    SOURCES,
    TIMESTAMP,
    TITLE,
    USER_ID,
)
from recsys.workspace import Workspace, atomic_path
from serving.loading import load_pipeline
from serving.replay import Replay

_COLUMNS = pl.Schema(
    {
        USER_ID: pl.String(),
        LIST_ID: pl.String(),
        ITEM_ID: pl.String(),
        POSITION: pl.Int32(),
        EVENT_TIME: TIMESTAMP,
        CONTEXT_ITEM_IDS: pl.List(pl.String()),
    }
)


@dataclass(frozen=True)
class Answers:
    """One ranked list per query, in the order of the queries."""

    queries: pl.DataFrame
    lists: list[RankedList]
    pipeline: Pipeline

    def frame(self) -> pl.DataFrame:
        """``[query_id,] user_id, item_id, rank (from 1), score, sources``."""
        keys = [name for name in (QUERY_ID, USER_ID) if name in self.queries.columns]
        columns: dict[str, list[Any]] = {
            ITEM_ID: [[item.item_id for item in ranked.items] for ranked in self.lists],
            RANK: [list(range(1, len(ranked.items) + 1)) for ranked in self.lists],
            SCORE: [[item.score for item in ranked.items] for ranked in self.lists],
            SOURCES: [[list(item.sources) for item in ranked.items] for ranked in self.lists],
        }
        return (
            self.queries.select(keys)
            .with_columns(pl.Series(name, values) for name, values in columns.items())
            .explode(list(columns))
            .drop_nulls(ITEM_ID)
        )

    def write(self, path: Path) -> None:
        """Write ``frame`` as Parquet."""
        with atomic_path(path) as partial:
            self.frame().write_parquet(partial)

    def to_json(self) -> str:
        """One JSON document with every list, its reasons and contributions."""
        return json.dumps(
            {
                "answers": [
                    self._answer(*pair) for pair in zip(self.queries.to_dicts(), self.lists, strict=True)
                ]
            }
        )

    def table(self) -> Table:
        """The lists for a terminal."""
        table = Table("user", "rank", "item", "title", "score", "why")
        for query, ranked in zip(self.queries.to_dicts(), self.lists, strict=True):
            titles = {
                row[ITEM_ID]: row[TITLE]
                for row in self.pipeline.items([item.item_id for item in ranked.items])
            }
            for number, item in enumerate(ranked.items, 1):
                why = "; ".join(item.reasons or item.sources)
                cells = (str(number), item.item_id, str(titles[item.item_id]), f"{item.score:.3f}", why)
                table.add_row(query[USER_ID] if number == 1 else "", *cells)
        return table

    def remarks(self) -> list[str]:
        """What a reader of the lists should know, in sentences, one for each kind of thing."""
        remarks = []
        for query, ranked in zip(self.queries.to_dicts(), self.lists, strict=True):
            who = f"user {query[USER_ID]}" if query[USER_ID] else "nobody in particular"
            if query[USER_ID] and "unknown_user" in ranked.degraded_reasons:
                remarks.append(f"{who} has no history at that time: ranked as anybody new is")
            if ranked.missing_item_ids:
                remarks.append(f"{who}: not in the catalogue: {', '.join(ranked.missing_item_ids)}")
            if ranked.service_level is ServiceLevel.POPULAR:
                remarks.append(f"{who}: nothing personal was found ({', '.join(ranked.degraded_reasons)})")
            if not ranked.items:
                remarks.append(f"{who}: no item is left to show")
        return remarks

    def _answer(self, query: dict[str, Any], ranked: RankedList) -> dict[str, Any]:
        return {
            USER_ID: query[USER_ID],
            "model_version": ranked.model_version,
            "service_level": ranked.service_level.value,
            "degraded_reasons": list(ranked.degraded_reasons),
            "missing_item_ids": list(ranked.missing_item_ids),
            "results": [
                {
                    ITEM_ID: item.item_id,
                    RANK: number,
                    SCORE: item.score,
                    SOURCES: list(item.sources),
                    "reasons": list(item.reasons),
                    "rule_steps": [asdict(step) for step in item.rule_steps],
                    "propensity": item.propensity,
                    "explanation": item.explanation
                    and {
                        "base_value": item.explanation.base_value,
                        "contributions": [
                            {"feature": c.feature, "value": _finite(c.value), "contribution": c.contribution}
                            for c in item.explanation.contributions
                        ],
                    },
                }
                for number, item in enumerate(ranked.items, 1)
            ],
        }


def single_queries(user_ids: list[str], context_item_ids: list[str]) -> pl.DataFrame:
    """Queries of users named one by one, all with the same context."""
    return pl.DataFrame({USER_ID: user_ids, CONTEXT_ITEM_IDS: [context_item_ids] * len(user_ids)}).cast(
        {CONTEXT_ITEM_IDS: pl.List(pl.String)}
    )


def read_queries(path: Path) -> pl.DataFrame:
    """Read ``user_id[, query_id, event_time, context_item_ids]``; in CSV, commas separate context ids.

    Raises:
        DataError: The file cannot be read, or a row lacks ``user_id`` or holds an unreadable time.
    """
    return _read(path, (USER_ID,))


def read_lists(path: Path) -> pl.DataFrame:
    """Read ``list_id, user_id, item_id[, position, event_time]``.

    Raises:
        DataError: The file cannot be read, or a row lacks an id or holds an unreadable time.
    """
    return _read(path, (LIST_ID, USER_ID, ITEM_ID))


def recommend_queries(
    workspace: Workspace,
    queries: pl.DataFrame,
    *,
    at_ms: int | None = None,
    placement: str = "home",
    limit: int = 10,
    novel: bool = False,
    item_filter: str = "",
    words: str = "",
    attributes: Mapping[str, str] | None = None,
    explain: bool = False,
    version: str | None = None,
) -> Answers:
    """Recommend for every query.

    Args:
        workspace: The workspace.
        queries: ``user_id[, query_id, event_time, context_item_ids]``; ``event_time`` is the row's own
            as-of, and an empty ``user_id`` is nobody.
        at_ms: As-of of the rows without their own, milliseconds since the epoch; the end of the log when
            absent.
        placement: A placement of the bundle's configuration.
        limit: Items per query.
        novel: Leave out what the user had before.
        item_filter: What items must be like, see ``recsys.item_filter.compile_filter``; empty for any.
        words: What the lists are to be about; empty for nothing in particular.
        attributes: What is known of the requests, for rules.
        explain: Attach contributions and reasons.
        version: The bundle; the registry's ``stable`` when absent.

    Raises:
        ConfigError: The placement is not configured, or needs a user or words that are not there.
        BundleError: No bundle has been trained, or it does not verify.
        InvalidRequestError: The filter cannot be read.
        LeakageError: The bundle was fitted on events later than a query.
    """
    if item_filter:
        compile_filter(item_filter)
    replay = Replay(workspace, queries, at_ms, version)
    _require_start(replay.pipeline, placement, queries, words)
    has_context = CONTEXT_ITEM_IDS in queries.columns
    answers: list[RankedList | None] = [None] * queries.height
    with progress("recommending", queries.height) as advance:
        for row, as_of_ms, state in replay.moments():
            context = queries[CONTEXT_ITEM_IDS][row] if has_context else None
            answers[row] = replay.pipeline.recommend(
                Query(
                    as_of_ms=as_of_ms,
                    user=state if queries[USER_ID][row] else None,
                    placement=placement,
                    context_item_ids=tuple(context) if context is not None else (),
                    limit=limit,
                    novel=novel,
                    filter=item_filter,
                    query=words,
                    attributes=attributes or {},
                    subject=str(queries[USER_ID][row]),
                    explain=explain,
                )
            )
            advance(1)
    return Answers(queries, [answer for answer in answers if answer is not None], replay.pipeline)


def recommend_in_shards(
    runner: Runner,
    workspace: Workspace,
    queries: pl.DataFrame,
    answer: Callable[..., Answers],
    *,
    at_ms: int | None = None,
) -> Answers:
    """Lists for parts of the queries, made where the runner says, all by one model.

    Args:
        runner: Where the parts go.
        workspace: The workspace, which lies under the same path for whoever answers.
        queries: As ``recommend_queries`` takes them.
        answer: A ``functools.partial`` of ``recommend_queries`` with everything else that is asked.
        at_ms: As ``recommend_queries`` takes it.

    Raises:
        DataError: There are no queries.
        RecsysError: Whatever ``recommend_queries`` raises.
    """
    if queries.is_empty():
        raise DataError("there is nobody to answer: the file holds no rows")
    version = Registry(workspace.registry).stable().name
    if at_ms is None:
        at_ms = (EventLog(workspace.events).end_ms() or 0) + 1
    fixed = partial(answer, at_ms=at_ms, version=version)
    parts = [queries[part] for part in even_parts(queries.height, runner.num_shards)]
    lists = runner.run(partial(_lists, fixed, workspace), parts, "recommending")
    return Answers(queries, list(chain.from_iterable(lists)), load_pipeline(workspace, version=version))


def _lists(answer: Callable[..., Answers], workspace: Workspace, queries: pl.DataFrame) -> list[RankedList]:
    return answer(workspace, queries).lists


def _require_start(pipeline: Pipeline, placement: str, queries: pl.DataFrame, words: str) -> None:
    """Check that the queries bring what the placement starts from."""
    configured = pipeline.config.placements.get(placement)
    if configured is None:
        return  # the pipeline says so, with the known ones
    nobody = bool((queries[USER_ID].cast(pl.String) == "").any())
    if nobody and configured.starts_from == "user":
        raise ConfigError(
            "say who to recommend to: --user ID (which may be repeated) or --users FILE; "
            f"{placement} needs it"
        )
    if nobody and configured.starts_from == "context" and not any(map(len, _contexts(queries))):
        raise ConfigError(f"say what {placement} starts from: --context ITEM, or --user ID")
    if configured.starts_from == "query" and not words.strip():
        raise ConfigError(f"say what to look for: --query WORDS; {placement} needs it")


def _contexts(queries: pl.DataFrame) -> list[list[str]]:
    if CONTEXT_ITEM_IDS not in queries.columns:
        return []
    return [list(ids) for ids in queries[CONTEXT_ITEM_IDS].drop_nulls().to_list()]


def rank_lists(workspace: Workspace, lists: pl.DataFrame, *, at_ms: int | None = None) -> pl.DataFrame:
    """Score the items of every list: ``list_id, item_id, score``; items the catalogue lacks get a null score.

    The arguments and errors are those of ``recommend_queries``; a list's as-of is its first ``event_time``. A
    ``position`` says where the caller would show the item, see ``recsys.pipeline.Pipeline.rank``.
    """
    times = [pl.col(EVENT_TIME).first()] if EVENT_TIME in lists.columns else []
    places = [pl.col(POSITION)] if POSITION in lists.columns else []
    queries = lists.group_by(LIST_ID, maintain_order=True).agg(
        pl.col(USER_ID).first(), pl.col(ITEM_ID), *times, *places
    )
    replay = Replay(workspace, queries, at_ms)
    frames = []
    with progress("ranking", queries.height) as advance:
        for row, as_of_ms, state in replay.moments():
            ranked = replay.pipeline.rank(
                Query(as_of_ms=as_of_ms, user=state),
                queries[ITEM_ID][row].to_list(),
                queries[POSITION][row].to_list() if places else None,
            )
            scores = {ITEM_ID: [i.item_id for i in ranked.items], SCORE: [i.score for i in ranked.items]}
            schema = {ITEM_ID: pl.String(), SCORE: pl.Float64()}
            frames.append(
                pl.DataFrame(scores, schema=schema).with_columns(pl.lit(queries[LIST_ID][row]).alias(LIST_ID))
            )
            advance(1)
    return lists.select(LIST_ID, ITEM_ID).join(
        pl.concat(frames), on=[LIST_ID, ITEM_ID], how="left", maintain_order="left"
    )


def _read(path: Path, required: tuple[str, ...]) -> pl.DataFrame:
    if path.suffix not in {".parquet", ".csv"}:
        raise DataError(f"{path.name}: expected a .parquet or .csv file")
    try:
        frame = pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    schema = {name: dtype for name, dtype in _COLUMNS.items() if name in (*frame.columns, *required)}
    try:
        read = conform(frame, pl.DataFrame(schema=schema), required)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    absent = [pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is missing")) for name in required]
    bad = read.select(pl.coalesce(REASON, *absent)).with_row_index("row", 1).drop_nulls()
    if not bad.is_empty():
        row, reason = bad.row(0)
        raise DataError(f"{path.name}, row {row}: {reason}")
    return frame.with_columns(read.drop(REASON))


def _finite(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 (NaN alone differs from itself)
