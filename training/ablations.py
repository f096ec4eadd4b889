"""What each part of the model is worth: variants without it, trained again from the same log.

================ ======================================================================================
variant          what it is
================ ======================================================================================
``no_text``      no text features and no text sources; behaviour alone
``frozen_text``  the pretrained encoder as it comes, with trained heads on it; everything else equal
``no_behaviour`` text and price features over the text sources' candidates; it knows what the user had
                 by its words alone
================ ======================================================================================

Every variant is trained until the moment the bundle was, with the bundle's settings, and makes lists for the
same users. The tuned model is the bundle itself.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import structlog

from features.registry import family_names, names
from recsys.bundle import Bundle, load_bundle
from recsys.config import Config, SourceName
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.workspace import Workspace
from training.recipe import TrainingRun
from training.report import BaselineLists
from training.take_over import TakenOver, kept_encoder
from training.window_lists import WindowUsers

VARIANTS = ("no_text", "frozen_text", "no_behaviour")
"""Variants that are trained again."""

_TEXT_FAMILY = "text_interest"
_WITHOUT_BEHAVIOUR = (_TEXT_FAMILY, "price")
_TEXT_SOURCES: tuple[SourceName, ...] = ("text", "words")

_log = structlog.get_logger(__name__)


def variant_config(config: Config, variant: str) -> Config:
    """The settings of a variant.

    Args:
        config: Those of the tuned model.
        variant: One of ``VARIANTS``.
    """
    if variant == "frozen_text":
        encoder = config.encoder.model_copy(update={"strategy": "frozen"})
        return config.model_copy(update={"encoder": encoder})
    sources = config.placements["home"].sources
    if variant == "no_text":
        dropped: tuple[str, ...] = (_TEXT_FAMILY,)
        kept = tuple(source for source in sources if source not in _TEXT_SOURCES)
    else:
        dropped = tuple(name for name in family_names() if name not in _WITHOUT_BEHAVIOUR)
        kept = _TEXT_SOURCES
    return _without(config, dropped, kept)


def ranked_by_variants(
    workspace: Workspace, bundle: Bundle, users: pl.Series, start_ms: int
) -> dict[str, BaselineLists]:
    """Train every variant and rank for the test users.

    A variant that finds nothing to learn from is left out with a warning. The variants' bundles are deleted.

    Args:
        workspace: The log, and the registry that holds the bundle.
        bundle: The tuned model.
        users: Ids of the test users.
        start_ms: Start of the test window, milliseconds since the epoch.

    Raises:
        BundleError: The bundle does not verify.
    """
    manifest, catalogue = bundle.manifest, bundle.parts.catalogue
    kept = kept_encoder(Registry(workspace.registry), manifest, catalogue, manifest.config.encoder)
    found = {}
    workspace.reports.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        taken = TakenOver() if variant == "frozen_text" else TakenOver(encoder=kept)
        config = variant_config(manifest.config, variant)
        with tempfile.TemporaryDirectory(dir=workspace.reports, prefix=".ablation.") as scratch:
            registry = Registry(Path(scratch))
            try:
                until_ms = manifest.fitted_until_ms
                TrainingRun(registry, workspace, catalogue, config, taken=taken, until_ms=until_ms).finish()
            except DataError as error:
                _log.warning("ablation left out", variant=variant, reason=str(error))
                continue
            variant_bundle = load_bundle(registry.stable())
            ranked = WindowUsers(variant_bundle, EventLog(workspace.events), users, start_ms)
            lists = ranked.lists(f"ranking by {variant}")
            found[variant] = BaselineLists(lists.all, lists.novel)
    return found


def _without(config: Config, families: tuple[str, ...], sources: tuple[SourceName, ...]) -> Config:
    left_out = tuple(dict.fromkeys((*config.state.leave_out_families, *families)))
    state = config.state.model_copy(update={"leave_out_families": left_out})
    known = set(names(state))
    monotone: Mapping[str, int] = {k: v for k, v in config.ranker.monotone.items() if k in known}
    home = config.placements["home"].model_copy(update={"sources": sources})
    return config.model_copy(
        update={
            "state": state,
            "ranker": config.ranker.model_copy(update={"monotone": monotone}),
            "placements": {**config.placements, "home": home},
        }
    )
