"""Which model users prefer, from the lists that a server drafted from two and what was clicked on them."""

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.drafted_list import DraftPolicy
from recsys.experiments.exposures import scan_served_lists
from recsys.experiments.preference import TEAMS, Preference, preference
from recsys.schema import EVENT_TYPE, ITEM_ID, LIST_ID, USER_ID
from recsys.workspace import Workspace


def served_preference(
    workspace: Workspace, key: str, *, event_type: str = "click", alpha: float = 0.05
) -> Preference:
    """Credit the events on an experiment's interleaved lists, first pages alone.

    Lists for nobody in particular are left out, and so are those that only one model made.

    Args:
        workspace: The workspace.
        key: The experiment, one with ``interleave = true``.
        event_type: What is credited.
        alpha: Of the test.

    Raises:
        DataError: There are no such lists.
    """
    prefix = f"team_draft experiment={key} "
    served = (
        scan_served_lists(workspace)
        .filter(
            pl.col("policy").str.starts_with(prefix),
            pl.col("first_position") == 0,
            pl.col("subject").is_not_null(),
        )
        .select(LIST_ID, pl.col("subject").alias(USER_ID), "item_ids", "policy")
        .collect()
    )
    if served.is_empty():
        raise DataError(
            f"no interleaved list of experiment {key!r} was served to anybody; expected a running experiment "
            "with interleave = true, and lists that were exported to served_lists/"
        )
    policies = [DraftPolicy.read(policy) for policy in served["policy"]]
    teams = [list(policy.teams) if policy is not None else [] for policy in policies]
    clicks = (
        EventLog(workspace.events)
        .scan()
        .filter(pl.col(EVENT_TYPE) == event_type)
        .select(LIST_ID, ITEM_ID)
        .drop_nulls()
        .collect()
    )
    lists = served.drop("policy").with_columns(pl.Series(TEAMS, teams, pl.List(pl.String)))
    return preference(lists, clicks, alpha=alpha)
