"""A workspace with two small models whose answers cannot be mistaken: each has items of its own."""

from pathlib import Path

from recsys.catalogue import Catalogue
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import ITEM_ID
from recsys.workspace import Workspace
from serving.event import Event, event_frame
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    write_shop_bundle,
)

FIRST, SECOND = "first-shop", "second-shop"
"""Versions; the ids of a model's items begin with its version."""


def two_models(root: Path, *, product_codes: bool = False) -> Workspace:
    """A shop's log of purchases and two bundles, of which the first is stable.

    Args:
        root: Where the workspace is made.
        product_codes: Whether the second one's vectors are searched by product codes.
    """
    workspace = Workspace(root / "workspace")
    config = small_config(greengrocer_encoder(root / "encoder"))
    registry, log = Registry(workspace.registry), []
    for version in (FIRST, SECOND):
        catalogue = _renamed(greengrocer(), version)
        events = [
            (user, item, kind, time_ms) for user, item, kind, time_ms in shopping(greengrocer(), num_users=4)
        ]
        own = [(user, f"{version}-{item}", kind, time_ms) for user, item, kind, time_ms in events]
        if product_codes and version == SECOND:
            config = config.model_copy(
                update={"candidates": config.candidates.model_copy(update={"product_codes_above": 0})}
            )
        write_shop_bundle(registry.path(version), config, catalogue, events_frame(own))
        log += [*own, ("user-1", f"{version}-leek", "view", NOW)]  # a bundle is not older than its log
    EventLog(workspace.events).append(
        event_frame(
            Event(f"e{number}", kind, user, item, time_ms, time_ms)
            for number, (user, item, kind, time_ms) in enumerate(log)
        ),
        "history",
    )
    registry.promote(FIRST)
    return workspace


def _renamed(catalogue: Catalogue, version: str) -> Catalogue:
    ids = [f"{version}-{item_id}" for item_id in catalogue.item_ids]
    return Catalogue(catalogue.frame.with_columns(catalogue.frame[ITEM_ID].replace(catalogue.item_ids, ids)))
