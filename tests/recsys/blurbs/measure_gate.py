"""What the gate makes of the labelled set.

    python -m tests.recsys.blurbs.measure_gate [unseen|seen] [--json | --wrong]

prints the share of true sentences that pass, of corruptions that are stopped, and the AUROC of the score by
kind; ``--wrong`` also prints what went wrong, which belongs to the seen half only.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.verdict import Verdict
from tests.recsys.blurbs.corruptions import KINDS

LABELLED = Path(__file__).parent / "labelled"
TRUE = "true"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Judged:
    """One text of the set with the gate's verdict."""

    item: str
    language: str
    kind: str
    text: str
    verdict: Verdict


def judged(half: str) -> list[Judged]:
    """The gate's verdicts on one half of the set.

    Args:
        half: ``seen`` or ``unseen``.
    """
    gate, items = Gate(), _items()
    rows = (json.loads(line) for line in (LABELLED / "texts.jsonl").read_text().splitlines())
    return [
        Judged(**row, verdict=gate.check(items[row["item"]][1], row["text"], row["language"]))
        for row in rows
        if items[row["item"]][0] == half
    ]


def share_passed(texts: Iterable[Judged]) -> float:
    """Share of texts that pass, in [0, 1]."""
    return float(np.mean([text.verdict.passed for text in texts]))


def auroc(true: Sequence[float], false: Sequence[float]) -> float:
    """How likely a true text scores above a false one; ties count half."""
    ranks = rankdata([*true, *false])[: len(true)]
    return float((ranks.sum() - len(true) * (len(true) + 1) / 2) / (len(true) * len(false)))


@cache
def _items() -> dict[str, tuple[str, Facts]]:
    rows: Iterable[dict[str, Any]] = map(json.loads, (LABELLED / "items.jsonl").read_text().splitlines())
    return {row["key"]: (row["half"], Facts.of(row["item"])) for row in rows}


def table(texts: Sequence[Judged]) -> Table:
    """The figures by kind and language."""
    result = Table("kind", "texts", "stopped", "en", "de", "zh", "AUROC")
    scores = [text.verdict.score for text in texts if text.kind == TRUE]
    for kind in (TRUE, *KINDS):
        of_kind = [text for text in texts if text.kind == kind]
        stopped = [1 - share_passed(t for t in of_kind if t.language == name) for name in ("en", "de", "zh")]
        area = auroc(scores, [text.verdict.score for text in of_kind])
        shares = (f"{share:.2%}" for share in (1 - share_passed(of_kind), *stopped))
        result.add_row(kind, str(len(of_kind)), *shares, "" if kind == TRUE else f"{area:.4f}")
    false = [text for text in texts if text.kind != TRUE]
    area = auroc(scores, [text.verdict.score for text in false])
    result.add_row(
        "all corruptions", str(len(false)), f"{1 - share_passed(false):.2%}", "", "", "", f"{area:.4f}"
    )
    return result


def figures(texts: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Share stopped and AUROC by kind; ``all`` are the corruptions together."""
    scores = [text.verdict.score for text in texts if text.kind == TRUE]
    result = {}
    for kind in (TRUE, *KINDS, ALL):
        of_kind = [text for text in texts if text.kind == kind or (kind == ALL and text.kind != TRUE)]
        area = auroc(scores, [text.verdict.score for text in of_kind])
        result[kind] = {"texts": len(of_kind), "stopped": 1 - share_passed(of_kind), "auroc": area}
    return result


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    half = next((word for word in arguments if not word.startswith("-")), "unseen")
    started = time.process_time()
    texts = judged(half)
    seconds = time.process_time() - started
    if "--json" in arguments:
        print(json.dumps(figures(texts)))  # noqa: T201
        return
    Console().print(table(texts))
    print(f"{half}: {1000 * seconds / len(texts):.2f} ms a text")  # noqa: T201
    if "--wrong" in arguments:
        for text in texts:
            if text.verdict.passed != (text.kind == TRUE):
                reasons = [(reason.code, reason.evidence) for reason in text.verdict.reasons]
                print(text.item, text.kind, text.text, reasons)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
