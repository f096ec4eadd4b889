"""What the gate makes of sentences whose words are the facts' own, in their roles and in others.

python -m tests.recsys.blurbs.measure_roles [--json]

prints, for each of the four lots in the order of their writing, how many false sentences are stopped
and how many true ones pass.
"""

import json
import sys
from pathlib import Path
from typing import Any

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate

ROLES = Path(__file__).parent / "labelled" / "roles.jsonl"


def passed(lot: int | None = None) -> tuple[list[bool], list[bool]]:
    """Whether the false sentences pass, and whether the true ones do.

    Args:
        lot: From 1 to 4; all when ``None``.
    """
    rows: list[dict[str, Any]] = [json.loads(line) for line in ROLES.read_text("utf-8").splitlines()]
    gate, result = Gate(), {"false": list[bool](), "true": list[bool]()}
    for row in (row for row in rows if lot in {None, row["lot"]}):
        facts = Facts.of(row["item"])
        for kind, found in result.items():
            found += [gate.check(facts, text, row["language"]).passed for text in row[kind]]
    return result["false"], result["true"]


def main() -> None:
    """Print the figures, of all lots as JSON with ``--json``."""
    if "--json" in sys.argv:
        false, true = passed()
        print(json.dumps({"stopped": 1 - sum(false) / len(false), "passed": sum(true) / len(true)}))  # noqa: T201
        return
    for lot in (1, 2, 3, 4, None):
        false, true = passed(lot)
        stopped = f"{len(false) - sum(false)} of {len(false)} stopped"
        print(f"{lot or 'all'}: {stopped}, {sum(true)} of {len(true)} true passed")  # noqa: T201


if __name__ == "__main__":
    main()
