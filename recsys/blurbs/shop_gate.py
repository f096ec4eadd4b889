"""The gate of one shop: with its own lexicons, the brands of its catalogue and, if it has one, its model."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from recsys.blurbs.gate import EntailmentCheck, Gate
from recsys.blurbs.lexicon import Lexicons
from recsys.schema import BRAND
from recsys.tables import read_items
from recsys.workspace import Workspace

FROM_REVIEW: Final = "from_review"
"""Folder within ``Workspace.lexicons`` of the words that reviewers added."""

_FEWEST_LETTERS: Final = 2


def shop_gate(
    workspace: Workspace, items: pl.DataFrame | None = None, nli: str = "", lexicons: Lexicons | None = None
) -> Gate:
    """Make a shop's gate.

    Args:
        workspace: Its ``lexicons/*.yaml`` extend the packaged lexicons; may lack a catalogue.
        items: The catalogue; read from the workspace when ``None``.
        nli: Directory of a Hugging Face cross-encoder for entailment; ``""`` for none.
        lexicons: The shop's, if they were loaded before.

    Raises:
        ConfigError: A lexicon or the model cannot be read.
    """
    known = shop_lexicons(workspace) if lexicons is None else lexicons
    return Gate(known, _brands(workspace, items), _entailment(nli))


def shop_lexicons(workspace: Workspace) -> Lexicons:
    """The packaged lexicons, with the shop's own files on top and what its reviewers added on top of those.

    Raises:
        ConfigError: A lexicon cannot be read.
    """
    folders = (workspace.lexicons, workspace.lexicons / FROM_REVIEW)
    own = [folder for folder in folders if folder.is_dir()]
    return Lexicons.load(own) if own else _packaged()


@cache
def _packaged() -> Lexicons:
    return Lexicons.load()


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
