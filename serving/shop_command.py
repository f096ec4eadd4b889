"""``recsys experiment simulate --shop``: what was planted beside what was found, as a table or as JSON."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.experiments.rehearsal import Rehearsal
from recsys.workspace import Workspace
from serving.shop_rehearsal import Outcome, carry_out

_INSIDE = {True: "yes", False: "no", None: "-"}


def simulate_shop(workspace: Workspace, rehearsal: Rehearsal, json_output: bool) -> None:
    """Carry a rehearsal out and print what came of it; see ``carry_out``."""
    outcome = carry_out(workspace, rehearsal)
    if json_output:
        typer.echo(json.dumps(outcome.as_json(), allow_nan=False))
        return
    Console().print(_table(outcome))
    again, analysis = outcome.again, outcome.result.experiment.analysis
    typer.echo(f"verdict: {outcome.result.judgement.verdict}")
    typer.echo(
        f"A/A of the same log under {rehearsal.runs:,} other salts: {again.rate:.1%} false positives "
        f"({again.low:.1%} to {again.high:.1%}), expected {analysis.alpha:.1%}"
    )


def _table(outcome: Outcome) -> Table:
    units = ", ".join(f"{arm} {count:,}" for arm, count in outcome.result.units.items())
    traffic = outcome.traffic
    title = f"{units}; {traffic.num_lists:,} lists, {traffic.num_purchases:,} purchases"
    left_out = traffic.num_without_arm
    caption = f"{left_out:,} lists had no arm" if left_out else None
    table = Table("metric", "arm", "planted", "found", "p", "planted is inside", title=title, caption=caption)
    for row in outcome.rows():
        planted = "-" if row["planted"] is None else f"{row['planted']['relative']:+.2%}"
        p_value = "-" if row["p_value"] is None else f"{row['p_value']:.3g}"
        table.add_row(
            Text(row["name"]),
            Text(row["arm"]),
            planted,
            _found(row["relative"]),
            p_value,
            _INSIDE[row["inside"]],
        )
    return table


def _found(relative: Mapping[str, Any]) -> str:
    if relative["low"] is None or relative["high"] is None:
        return "-" if relative["estimate"] is None else f"{relative['estimate']:+.2%}"
    return f"{relative['estimate']:+.2%} ({relative['low']:+.2%} to {relative['high']:+.2%})"
