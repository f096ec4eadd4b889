"""A pipeline over parts that no bundle on disk has."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from recsys.bundle import Bundle
from recsys.config import Config
from recsys.gathered import FeatureSource
from recsys.item_state import ItemState
from recsys.manifest import Manifest
from recsys.moment import Parts
from recsys.pipeline import Pipeline
from recsys.ranker import Ranker
from tests.recsys.small_catalogue import NOW, Event, events_frame


def small_pipeline(
    parts: Parts,
    events: Iterable[Event],
    rankers: Mapping[str, Ranker],
    features: FeatureSource,
    config: Config | None = None,
) -> Pipeline:
    """A pipeline at ``NOW``, of the version ``v1``.

    Args:
        parts: What it ranks with.
        events: The log.
        rankers: By what they are for.
        features: What the rankers read.
        config: Its settings, when they are not the parts'.
    """
    then = datetime.fromtimestamp(NOW / 1000, UTC)
    manifest = Manifest(
        version="v1",
        created_time=then,
        data_from=then,
        fitted_until=then,
        parts_fitted_until_ms=parts.fitted_until(),
        feature_names=features.names,
        feature_fingerprint="",
        config=parts.config if config is None else config,
        metrics={},
        libraries={},
        canary_inputs=[],
        canary_scores={},
        files={},
    )
    items = ItemState.from_events(parts.catalogue, parts.config.state, events_frame(events), NOW)
    return Pipeline(Bundle(manifest, parts, dict(rankers)), items, features)
