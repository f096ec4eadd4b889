"""The gate of one shop: with its own lexicons, the brands of its catalogue and, if it has one, its model."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from recsys.blurbs.gate import EntailmentCheck, Gate
from recsys.blurbs.lexicon import Lexicons
from recsys.schema import BRAND
from recsys.tables import read_items
from recsys.workspace import Workspace

_FEWEST_LETTERS: Final = 2


def shop_gate(workspace: Workspace, items: pl.DataFrame | None = None, nli: str = "") -> Gate:
    """Make a shop's gate.

    Args:
        workspace: Its ``lexicons/*.yaml`` extend the packaged lexicons; may lack a catalogue.
        items: The catalogue; read from the workspace when ``None``.
        nli: Directory of a Hugging Face cross-encoder for entailment; ``""`` for none.

    Raises:
        ConfigError: A lexicon or the model cannot be read.
    """
    lexicons = Lexicons.load([workspace.lexicons] if workspace.lexicons.is_dir() else [])
    return Gate(lexicons, _brands(workspace, items), _entailment(nli))


def _entailment(nli: str) -> EntailmentCheck | None:
    if not nli:
        return None
    from recsys.blurbs.nli import Entailment

    return Entailment.load(Path(nli))


def _brands(workspace: Workspace, items: pl.DataFrame | None) -> Collection[str]:
    if items is None and not any(workspace.items.glob("*.parquet")):
        return ()
    catalogue = read_items(workspace) if items is None else items
    brands = catalogue[BRAND].drop_nulls().unique().sort()
    return [brand for brand in brands.to_list() if len(brand) >= _FEWEST_LETTERS]
