"""What each rule of a workspace means today: for `recsys rules check`."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Bool

from recsys.catalogue import Catalogue
from recsys.config import load_config
from recsys.errors import ConfigError
from recsys.rule_book import Meant, RuleBook
from recsys.rules import Cap, Pin, load_rules
from recsys.schema import TITLE
from recsys.tables import read_items
from recsys.workspace import Workspace

_NUM_TITLES = 3


@dataclass(frozen=True)
class RuleCheck:
    """One rule over today's catalogue."""

    name: str
    action: str
    runs: bool
    """Whether the moment lies between its start and its end."""
    num_items: int
    """Items that it means; of a cap, those that have what it counts by."""
    about: str
    """What these are, in words, where no filter and no id says it; else empty."""
    titles: tuple[str, ...]
    """Some of them."""
    remarks: tuple[str, ...]
    """What looks like a mistake, in words."""


def check_rules(workspace: Workspace, at_ms: int | None = None) -> list[RuleCheck]:
    """Read a workspace's rules and see which items they mean; in the file's order.

    Args:
        workspace: The workspace.
        at_ms: The moment, milliseconds since the epoch; now when absent.

    Raises:
        ConfigError: There is no rules file, or it cannot be read.
        DataError: There are no items.
    """
    if not workspace.rules.exists():
        raise ConfigError(
            f"there are no rules: {workspace.rules} does not exist; docs/placements.md has some"
        )
    moment_ms = at_ms if at_ms is not None else round(datetime.now(UTC).timestamp() * 1000)
    rules = load_rules(workspace.rules)
    placements = set(load_config(workspace.config).placements)
    catalogue = Catalogue(read_items(workspace))
    found = []
    for meant in RuleBook(rules, catalogue).meant:
        rule, positions = meant.rule, np.flatnonzero(_counted(meant, catalogue))
        unknown = sorted(set(rule.placements) - placements)
        remarks = [f"there is no placement {name!r}" for name in unknown]
        if not len(positions):
            remarks.append(_nothing(meant))
        elif not catalogue.available[positions].any():
            remarks.append("nothing of it can be sold")
        titles = catalogue.frame[TITLE][positions[:_NUM_TITLES]].to_list()
        runs = rule.runs(moment_ms)
        if isinstance(rule, Pin) and not rule.placements:
            remarks.append("it is pinned in every placement, search and trending too")
        about = f"every item with a {_words(rule)}" if isinstance(rule, Cap) and not rule.filter else ""
        found.append(
            RuleCheck(rule.name, rule.action, runs, len(positions), about, tuple(titles), tuple(remarks))
        )
    return found


def _counted(meant: Meant, catalogue: Catalogue) -> Bool[np.ndarray, " items"]:
    """The items that a rule means, without those that a cap does not count."""
    if not isinstance(meant.rule, Cap):
        return meant.items
    return meant.items & (catalogue.attribute_codes[meant.rule.by] >= 0)


def _nothing(meant: Meant) -> str:
    """Why a rule means no item."""
    if isinstance(meant.rule, Pin):
        return "the catalogue does not hold the item"
    if not isinstance(meant.rule, Cap) or not meant.items.any():
        return "no item matches"
    which = "no item that matches" if meant.rule.filter else "no item"
    return f"{which} has a {_words(meant.rule)}, so nothing is capped"


def _words(cap: Cap) -> str:
    return cap.by.replace("_", " ")
