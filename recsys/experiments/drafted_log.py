"""The drafted lists of an experiment in the log: which can tell something, and what the others lack."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from recsys.experiments.audit import AuditEntry
from recsys.experiments.bulk import ARM
from recsys.experiments.definition import INTERLEAVED
from recsys.experiments.drafted_list import DraftPolicy
from recsys.experiments.history import versions_of
from recsys.experiments.preference import TEAMS
from recsys.experiments.version_scope import VERSION
from recsys.schema import LIST_ID, SERVED_TIME, TIMESTAMP, USER_ID

MODEL_A, MODEL_B = "model_a", "model_b"


@dataclass(frozen=True, eq=False)
class DraftedLog:
    """First pages of an interleaving experiment."""

    lists: pl.DataFrame
    """Those that compare two models: ``list_id``, ``user_id``, ``served_time``, ``version`` (null where it is
    not known), ``item_ids``, ``model_a``, ``model_b``, ``teams``."""
    num_degraded: int
    """Lists of which one model's own did not go through the whole pipeline; left out."""
    num_of_one_model: int
    """Lists that one model made alone, because the other was not there or failed; left out."""
    num_anonymous: int
    """Lists for nobody in particular; left out."""


def read_drafts(
    served: pl.LazyFrame, key: str, audit: Sequence[AuditEntry], version: int | None = None
) -> DraftedLog:
    """Read the drafted lists of an experiment.

    Args:
        served: Frame of ``SERVED_LIST_SCHEMA``.
        key: The experiment.
        audit: What happened to experiments: says which version was in force where a list does not.
        version: Whose lists to read; ``None`` for all.
    """
    columns = (LIST_ID, "subject", SERVED_TIME, "service_level", "item_ids", "policy", "arms")
    shown = served.filter(pl.col("first_position") == 0).select(columns).explode("arms").unnest("arms")
    mine = shown.filter(pl.col("experiment") == key, pl.col(ARM) == INTERLEAVED).collect()
    mine = _versioned(mine, key, audit)
    if version is not None:
        mine = mine.filter(pl.col(VERSION) == version)
    known = mine.drop_nulls("subject").rename({"subject": USER_ID})
    policies = [DraftPolicy.read(text or "") for text in known["policy"]]
    drafted = known.with_columns(
        pl.Series(MODEL_A, [each and each.model_a for each in policies], pl.String),
        pl.Series(MODEL_B, [each and each.model_b for each in policies], pl.String),
        pl.Series(TEAMS, [each and list(each.teams) for each in policies], pl.List(pl.String)),
        pl.Series("degraded", [bool(each and each.degraded) for each in policies], pl.Boolean),
    ).drop_nulls(MODEL_A)
    whole = drafted.filter(~pl.col("degraded"), pl.col("service_level") == "FULL")
    return DraftedLog(
        whole.drop("degraded", "service_level", "policy", "experiment", ARM),
        num_degraded=drafted.height - whole.height,
        num_of_one_model=known.height - drafted.height,
        num_anonymous=mine.height - known.height,
    )


def _versioned(lists: pl.DataFrame, key: str, audit: Sequence[AuditEntry]) -> pl.DataFrame:
    """With the version that was started last before a list, where the list names none."""
    started = [(each.time, each.version) for each in audit if each.key == key and each.action == "start"]
    schema = {SERVED_TIME: TIMESTAMP, "in_force": pl.Int32()}
    starts = pl.DataFrame(started, schema=schema, orient="row").sort(SERVED_TIME)
    ordered = lists.sort(SERVED_TIME, LIST_ID).join_asof(starts, on=SERVED_TIME)
    versions = versions_of(audit, key)
    only = pl.lit(versions[0] if len(versions) == 1 else None, pl.Int32)
    return ordered.with_columns(pl.coalesce(VERSION, "in_force", only).alias(VERSION)).drop("in_force")
