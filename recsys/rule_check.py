"""What each rule of a workspace means today: for `recsys rules check`."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from recsys.catalogue import Catalogue
from recsys.config import load_config
from recsys.errors import ConfigError
from recsys.rule_book import RuleBook
from recsys.rules import Pin, load_rules
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
    """Items that it means."""
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
        rule, positions = meant.rule, np.flatnonzero(meant.items)
        unknown = sorted(set(rule.placements) - placements)
        remarks = [f"there is no placement {name!r}" for name in unknown]
        if not len(positions):
            remarks.append(
                "the catalogue does not hold the item" if isinstance(rule, Pin) else "no item matches"
            )
        elif not catalogue.available[positions].any():
            remarks.append("nothing of it can be sold")
        titles = catalogue.frame[TITLE][positions[:_NUM_TITLES]].to_list()
        runs = rule.runs(moment_ms)
        found.append(RuleCheck(rule.name, rule.action, runs, len(positions), tuple(titles), tuple(remarks)))
    return found
