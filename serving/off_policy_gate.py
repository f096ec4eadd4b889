"""The gate ``offpolicy``: would a model earn more than the one that serves, by lists drawn at random?

It replays the moments of those lists with the new model, which must not have been fitted on anything later,
and compares by ``recsys.experiments.served_policy``. Only first pages of placements that start from a user
and are ordered by score are taken: a served list does not keep what else a request asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from recsys.answer import Query, ServiceLevel
from recsys.config import PromotionConfig, load_config
from recsys.draw_policy import DrawPolicy
from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.experiments.exposures import scan_served_lists
from recsys.experiments.repeated_lists import once_per_call
from recsys.experiments.served_policy import Comparison, RescoredList, compare_served
from recsys.manifest import read_manifest
from recsys.progress import progress
from recsys.promotion import Gate
from recsys.registry import Registry
from recsys.schema import (
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    LIST_ID,
    SERVED_TIME,
    TIMESTAMP,
    USER_ID,
)
from recsys.workspace import Workspace
from serving.replay import Replay

_NAME = "offpolicy"
_MOST_LISTS = 20_000  # the newest; one costs what a recommendation costs
_REWARD = "rewards"
_AS_SCORED = {"sampling": None, "exploration": None}  # the order that a list is drawn from


def off_policy(workspace: Workspace, version: str, serving: str | None) -> Gate:
    """Whether the new model's reward per list is above the serving one's, less what may be lost.

    Args:
        workspace: The workspace; ``[promotion]`` of its configuration says what counts as reward.
        version: The new model.
        serving: The model that serves; without one, or with the new one itself, there is nothing to compare.
    """
    if serving is None or serving == version:
        return Gate(_NAME)
    settings = load_config(workspace.config).promotion
    try:
        lists = _drawn_lists(workspace, version, serving)
        if isinstance(lists, str):
            return Gate(_NAME, (lists,))
        policy = DrawPolicy.read(lists["policy"][0])
        if settings.slots > policy.places:
            return Gate(_NAME, (_not_drawn(settings.slots, policy.places),))
        rescored = list(_rescored(workspace, version, lists, policy, settings))
    except (RecsysError, pl.exceptions.PolarsError) as error:
        return Gate(_NAME, (str(error),))
    compared = compare_served(rescored, policy.temperature, settings.slots)
    return Gate(_NAME, tuple(_reasons(compared, settings, serving)), _figures(compared, settings))


def _drawn_lists(workspace: Workspace, version: str, serving: str) -> pl.DataFrame | str:
    """The served lists that say something about another model, or why there are none."""
    if not any(workspace.served_lists.glob("day=*/*.parquet")):
        return "there are no served lists; serve with the model that serves now, see docs/off-policy.md"
    fitted_until = read_manifest(Registry(workspace.registry).path(version)).fitted_until
    of_model = once_per_call(scan_served_lists(workspace)).filter(
        pl.col("model_version") == serving, pl.col("service_level") == ServiceLevel.FULL.value
    )
    later = of_model.filter(pl.col(SERVED_TIME) > pl.lit(fitted_until).cast(TIMESTAMP)).collect()
    if later.is_empty():
        return (
            f"{serving} served no list after {fitted_until:%Y-%m-%dT%H:%M:%SZ}, up to which {version} was "
            "fitted; a model can be judged only on what it has not seen"
        )
    drawn = later.filter(
        pl.col("policy").fill_null("").str.starts_with("plackett_luce"), pl.col("first_position") == 0
    )
    drawn = drawn.filter(pl.col("placement").is_in(_placements(workspace)), pl.col("item_ids").list.len() > 0)
    if drawn.is_empty():
        return (
            f"none of {later.height:,} lists was drawn at random, so the log says nothing about another "
            "order; let a share of the traffic be drawn, see docs/off-policy.md"
        )
    newest = drawn.sort(SERVED_TIME)["policy"][-1]
    return drawn.filter(pl.col("policy") == newest).sort(SERVED_TIME).tail(_MOST_LISTS)


def _not_drawn(slots: int, places: int) -> str:
    return (
        f"promotion.slots is {slots}, but only the first {places} places of the lists were drawn at random: "
        f"the log says nothing about other items below. Expected slots of at most {places}: lower "
        "promotion.slots, or raise places in the placement's sampling and wait for such lists"
    )


def _placements(workspace: Workspace) -> list[str]:
    configured = load_config(workspace.config).placements
    return [
        name
        for name, placement in configured.items()
        if placement.starts_from == "user" and placement.order != "relevance"
    ]


def _rescored(
    workspace: Workspace, version: str, lists: pl.DataFrame, policy: DrawPolicy, settings: PromotionConfig
) -> Iterator[RescoredList]:
    """Every list with its rewards and what the new model would have drawn from at its moment."""
    lists = _with_rewards(workspace, lists, settings)
    queries = lists.select(
        pl.col("subject").fill_null("").alias(USER_ID), pl.col(SERVED_TIME).alias(EVENT_TIME)
    )
    replay = Replay(workspace, queries, version=version)
    rows, placements = lists.to_dicts(), replay.pipeline.config.placements
    with progress("asking the new model", len(rows)) as advance:
        for at, as_of_ms, state in replay.moments():
            row = rows[at]
            query = Query(
                as_of_ms=as_of_ms,
                user=state if row["subject"] else None,
                placement=row["placement"],
                limit=policy.pool,
                parameters=placements[row["placement"]].model_copy(update=_AS_SCORED),
            )
            ranked = replay.pipeline.recommend(query)
            yield RescoredList(
                user=row["subject"] or row[LIST_ID],
                item_ids=row["item_ids"],
                propensities=row["propensities"],
                rewards=row[_REWARD],
                offered=[item.item_id for item in ranked.items],
                scores=sorted([item.score for item in ranked.items], reverse=True),
            )
            advance(1)


def _with_rewards(workspace: Workspace, lists: pl.DataFrame, settings: PromotionConfig) -> pl.DataFrame:
    """The lists with 1 for every item that got the event that is wanted, else 0."""
    wanted = (
        EventLog(workspace.events)
        .scan()
        .filter(pl.col(EVENT_TYPE) == settings.reward, pl.col(LIST_ID).is_not_null())
        .select(LIST_ID, ITEM_ID, pl.lit(1.0).alias(_REWARD))
        .unique()
    )
    slots = lists.lazy().select(LIST_ID, pl.col("item_ids").alias(ITEM_ID)).explode(ITEM_ID)
    rewards = (
        slots.join(wanted, on=[LIST_ID, ITEM_ID], how="left", maintain_order="left")
        .group_by(LIST_ID, maintain_order=True)
        .agg(pl.col(_REWARD).fill_null(0.0))
        .collect()
    )
    return lists.join(rewards, on=LIST_ID, how="left", maintain_order="left")


def _reasons(compared: Comparison, settings: PromotionConfig, serving: str) -> Iterator[str]:
    yield from compared.reasons
    difference = compared.difference
    if difference.low <= settings.margin:
        yield (
            f"{settings.reward} per list is {difference.estimate:+.5f} [{difference.low:+.5f}, "
            f"{difference.high:+.5f}] against {serving}, expected an interval above {settings.margin:+.5f}"
        )


def _figures(compared: Comparison, settings: PromotionConfig) -> Mapping[str, Any]:
    return {**asdict(compared), "reward": settings.reward, "slots": settings.slots, "margin": settings.margin}
