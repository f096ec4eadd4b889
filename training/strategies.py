"""Every way of tuning the encoder, by what the text alone finds then."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import polars as pl

from recsys.bundle import Bundle, text_vectors
from recsys.config import Strategy
from recsys.event_log import EventLog
from recsys.index import VectorIndex, quantise
from recsys.workspace import Workspace
from training.encoder_fit import fit_encoder
from training.window_lists import WindowUsers


def found_by_strategies(
    workspace: Workspace, bundle: Bundle, users: pl.Series, start_ms: int
) -> dict[str, pl.DataFrame]:
    """Train the encoder by each strategy on what the bundle's saw, and list what its text alone finds.

    The lists of ``frozen``, whose heads are trained, are named ``heads_only``, as among the ablations.

    Args:
        workspace: Where the log lies.
        bundle: The model, whose settings hold for all but the strategy.
        users: Ids of the test users.
        start_ms: Start of the test window, milliseconds since the epoch.

    Returns:
        By name, ``user_id``, ``item_id`` and ``rank`` from 1 of the nearest 500.
    """
    manifest, parts = bundle.manifest, bundle.parts
    log, config = EventLog(workspace.events), manifest.config
    until_ms = manifest.parts_fitted_until_ms["encoder"]
    found = {}
    workspace.reports.mkdir(parents=True, exist_ok=True)
    for strategy in get_args(Strategy):
        its = config.model_copy(update={"encoder": config.encoder.model_copy(update={"strategy": strategy})})
        with tempfile.TemporaryDirectory(dir=workspace.reports, prefix=".strategy.") as directory:
            fitted = fit_encoder(parts.catalogue, log.scan(), until_ms, its, Path(directory) / "log")
        index = VectorIndex(quantise(text_vectors(fitted.towers, fitted.base)), parts.catalogue)
        theirs = replace(bundle, parts=replace(parts, index=index, user_tower=fitted.towers.user))
        name = "heads_only" if strategy == "frozen" else strategy
        ranked = WindowUsers(theirs, log, users, start_ms)
        found[name] = ranked.text_alone(f"reading with {name}")["tuned_text"]
    return found
