"""What a terminal shows of a served preference."""

import json
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.experiments.preference import Preference
from recsys.experiments.served_preference import ServedPreference

_LEFT_OUT = {
    "degraded": "with a model that answered less than fully",
    "one_model": "that one model made alone",
    "anonymous": "for nobody in particular",
}


def show_preference(found: ServedPreference, *, json_output: bool) -> None:
    """Print it, as a table or as one JSON document."""
    if json_output:
        typer.echo(json.dumps(found.document()))
        return
    Console().print(_table(found))
    for reason, number in found.left_out.items():
        if number:
            typer.echo(f"left out: {number:,} lists {_LEFT_OUT[reason]}")
    for line in _conclusion(found.pooled):
        typer.echo(line)


def _table(found: ServedPreference) -> Table:
    won = ("lists won by a", "by b", f"{found.event_type} on a's", "on b's", "preferred")
    columns = ("version", "a", "b", "since (UTC)", "lists", "users")
    table = Table(*columns, *won, title=found.experiment)
    for row in found.rows:
        each = row.found
        version = "not known" if row.version is None else str(row.version)
        table.add_row(version, Text(row.model_a), Text(row.model_b), *_counts(f"{row.first:%F %H:%M}", each))
    if found.pooled is not None and len(found.rows) > 1:
        table.add_row("all", "", "", *_counts("", found.pooled))
    return table


def _counts(since: str, found: Preference) -> list[str]:
    clicks = (found.num_lists, found.num_users, found.wins_a, found.wins_b, found.clicks_a, found.clicks_b)
    return [since, *(f"{number:,}" for number in clicks), found.verdict]


def _conclusion(pooled: Preference | None) -> Iterator[str]:
    if pooled is None:
        yield "the lists compare different models, so they are not taken together: read the rows one by one"
        return
    yield (
        f"a over b: delta {pooled.delta:+.4f}; per list {pooled.credit:+.4f} [{pooled.low:+.4f}, "
        f"{pooled.high:+.4f}], p = {pooled.p_value:.4g}, sign test {pooled.sign_p_value:.4g}"
    )
    yield f"preferred: {pooled.verdict}" + (f" ({pooled.reason})" if pooled.reason else "")
