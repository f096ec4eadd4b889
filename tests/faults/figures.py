"""What the tests measured, kept for the table of docs/reliability.md."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

DIRECTORY = Path(os.environ.get("RECSYS_FAULTS_OUTPUT", "workspace/faults"))
"""Where figures go, one JSON Lines file per row of the table."""


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    test: str
    """Row of the table, such as ``T8``."""
    what: str
    value: float
    unit: str
    bar: str
    """What is aimed at, such as ``<= 5``; empty for none."""


def note(figure: Figure) -> None:
    """Keep a figure; one of the same test and words replaces it."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{figure.test}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[figure.what] = asdict(figure)
    path.write_text(json.dumps(known, indent=1), encoding="utf-8")


def figures() -> list[Figure]:
    """All that are kept, by the number of the test."""
    files = sorted(DIRECTORY.glob("T*.json"), key=lambda path: int(path.stem[1:]))
    return [Figure(**one) for file in files for one in json.loads(file.read_text(encoding="utf-8")).values()]
