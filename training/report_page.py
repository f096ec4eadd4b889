"""An evaluation report as files and for a terminal; what it says is made in ``training.report``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from rich.table import Table

from recsys.drawing import label
from recsys.workspace import atomic_path
from training.plots import charts
from training.report import HEADLINE, EvaluationInput, K


def write_report(
    report: Mapping[str, Any], evaluation: EvaluationInput, json_path: Path | None, html_path: Path
) -> None:
    """Write the report as JSON, where a path is given, and as one self-contained HTML page; both atomically.

    Args:
        report: What ``evaluate_lists`` returned for ``evaluation``.
        evaluation: Its input; the page's curves are read from here.
        json_path: Where the JSON goes, or ``None``.
        html_path: Where the page goes.
    """
    page = _page(report, evaluation)
    if json_path is not None:
        text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        with atomic_path(json_path) as partial:
            partial.write_text(text, encoding="utf-8")
    with atomic_path(html_path) as partial:
        partial.write_text(page, encoding="utf-8")


def summary_table(report: Mapping[str, Any]) -> Table:
    """The model and its baselines side by side, for a terminal."""
    split = report["split"]
    title = f"{report['dataset']}: {report['num_users']:,} users, {split['test_from']} to {split['test_to']}"
    table = Table(title=title, caption="95 % bootstrap intervals over users", show_lines=True)
    table.add_column("")
    for heading in ("NDCG@10", "ours - theirs", "NDCG@10, novel", "ours - theirs", "recall@10", "hit@10"):
        table.add_column(heading, justify="right")
    rows = {"model": {**report["metrics"], "novel": report["slices"]["novel"]}, **report["baselines"]}
    for name, block in rows.items():
        novel = block.get("novel", {})
        cells = (
            _cell(block.get(HEADLINE)),
            _cell(block.get("difference"), sign="+"),
            _cell(novel.get(HEADLINE)),
            _cell(novel.get("difference"), sign="+"),
            _cell(block.get(f"recall@{K}")),
            _cell(block.get(f"hit@{K}")),
        )
        table.add_row(label(name), *cells, style="bold" if name == "model" else None)
    return table


def _page(report: Mapping[str, Any], evaluation: EvaluationInput) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = label
    drawn = charts(report, evaluation.curves)
    return environment.get_template("report.html.j2").render(
        report=report, charts=drawn, num_items=evaluation.num_items
    )


def _cell(numbers: Mapping[str, float] | None, sign: str = "") -> str:
    if numbers is None:
        return ""
    form = f"{sign}.4f"
    return f"{numbers['value']:{form}}\n[dim]{numbers['low']:{sign}.3f} to {numbers['high']:{sign}.3f}[/dim]"
