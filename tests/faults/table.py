"""Writes what the tests measured into docs/reliability.md: ``python -m tests.faults.table``."""

import sys
from itertools import groupby
from pathlib import Path

from tests.faults.figures import Figure, figures

DOCUMENT = Path("docs/reliability.md")
BEGIN, END = "<!-- figures: make faults -->", "<!-- end of figures -->"


def table(found: list[Figure]) -> str:
    """A row per test, in Markdown."""
    lines = ["| test | measured | aimed at |", "|---|---|---|"]
    for test, group in groupby(found, key=lambda figure: figure.test):
        own = list(group)
        measured = "<br>".join(f"{figure.what}: {_number(figure)}" for figure in own)
        aimed = "<br>".join(figure.bar or "-" for figure in own)
        lines.append(f"| {test} | {measured} | {aimed} |")
    return "\n".join(lines)


def _number(figure: Figure) -> str:
    value = (
        f"{figure.value:,.0f}"
        if abs(figure.value) >= 100 or figure.value == int(figure.value)
        else (f"{figure.value:.3g}")
    )
    return f"{value} {figure.unit}".strip()


def main() -> None:
    """Replace the table between the markers."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table(figures())}\n\n{END}{after}", encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT} tells {len(figures())} figures\n")


if __name__ == "__main__":
    main()
