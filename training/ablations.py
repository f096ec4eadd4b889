"""What each part of the model is worth: variants without it, trained again from the same log.

================ ======================================================================================
variant          what it is
================ ======================================================================================
``no_text``      no text features and no text sources, and blank pretrained vectors for whatever else reads
                 them; behaviour alone
``frozen_text``  the pretrained encoder as it comes, under towers that nobody trained: a user is a mean of
                 the recent items' vectors, newer ones weighing more; everything else equal
``heads_only``   trained heads and user tower on the pretrained encoder, no layer of which is trained
``no_behaviour`` text and price features over the text sources' candidates; it knows what the user had
                 by its words alone
================ ======================================================================================

Every variant is trained until the moment the bundle was, with the bundle's settings, and makes lists for the
same users. The tuned model is the bundle itself.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import structlog
import torch

from features.registry import family_names, names
from recsys.bundle import Bundle, load_bundle
from recsys.config import Config, SourceName
from recsys.errors import ConfigError, DataError, LeakageError
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.workspace import Workspace
from training.encoder_fit import FittedEncoder
from training.recipe import TrainingRun
from training.report import BaselineLists
from training.take_over import TakenOver, kept_encoder
from training.window_lists import WindowUsers

VARIANTS = ("no_text", "frozen_text", "heads_only", "no_behaviour")
"""Variants that are trained again."""

_OTHER_ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "frozen_text": {"strategy": "frozen", "num_head_steps": 0},
    "heads_only": {"strategy": "frozen"},
}
_TEXT_FAMILY = "text_interest"
_TEXT_FAMILIES = (_TEXT_FAMILY, "alike")
_WITHOUT_BEHAVIOUR = (_TEXT_FAMILY, "price")
_TEXT_SOURCES: tuple[SourceName, ...] = ("text", "words")
_ALIKE: SourceName = "alike"

_log = structlog.get_logger(__name__)


def variant_config(config: Config, variant: str) -> Config:
    """The settings of a variant.

    Args:
        config: Those of the tuned model.
        variant: One of ``VARIANTS``.
    """
    if variant in _OTHER_ENCODERS:
        encoder = config.encoder.model_copy(update=_OTHER_ENCODERS[variant])
        return config.model_copy(update={"encoder": encoder})
    sources = config.placements["home"].sources
    if variant == "no_text":
        dropped: tuple[str, ...] = _TEXT_FAMILIES
        kept = tuple(source for source in sources if source not in (*_TEXT_SOURCES, _ALIKE))
    else:
        dropped = tuple(name for name in family_names() if name not in _WITHOUT_BEHAVIOUR)
        kept = _TEXT_SOURCES
    return _without(config, dropped, kept)


def ranked_by_variants(
    workspace: Workspace, bundle: Bundle, users: pl.Series, start_ms: int
) -> dict[str, BaselineLists]:
    """Train every variant and rank for the test users.

    A variant that cannot be trained is left out with a warning: there is nothing to learn from, no feature is
    left, or the label windows have moved into what the encoder saw because older events came in since. The
    variants' bundles are deleted.

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
        with tempfile.TemporaryDirectory(dir=workspace.reports, prefix=".ablation.") as directory:
            scratch = Workspace(Path(directory))
            scratch.events.symlink_to(workspace.events.resolve())
            registry, until_ms = Registry(scratch.registry), manifest.fitted_until_ms
            try:
                config, taken = variant_config(manifest.config, variant), taken_by(variant, kept)
                TrainingRun(registry, scratch, catalogue, config, taken=taken, until_ms=until_ms).finish()
            except (ConfigError, DataError, LeakageError) as error:
                _log.warning("ablation left out", variant=variant, reason=str(error))
                continue
            ranked = WindowUsers(load_bundle(registry.stable()), EventLog(scratch.events), users, start_ms)
            lists = ranked.lists(f"ranking by {variant}")
            found[variant] = BaselineLists(lists.all, lists.novel)
    return found


def taken_by(variant: str, kept: FittedEncoder) -> TakenOver:
    """What a variant takes over from the tuned model.

    Args:
        variant: One of ``VARIANTS``.
        kept: The tuned model's encoder.
    """
    if variant in _OTHER_ENCODERS:
        return TakenOver()
    if variant == "no_text":
        return TakenOver(encoder=replace(kept, frozen_base=torch.zeros_like(kept.frozen_base)))
    return TakenOver(encoder=kept)


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
