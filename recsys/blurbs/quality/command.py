"""``recsys blurbs report``: how good the texts are, in the terminal, as JSON and as a page."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recsys.errors import BlurbError, ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace


def report(
    *,
    html: Annotated[Path | None, typer.Option(help="Also write a page with charts here.")] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=2000, help="Most texts that false ones are made of.")
    ] = 300,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Measure the texts of the book: what passes, false ones made of them, variety, cost, people."""
    from recsys.blurbs.book import Book
    from recsys.blurbs.book_file import BOOK_FILE
    from recsys.blurbs.quality.report import quality_report
    from recsys.blurbs.quality.table import detection_table, groups_table, reasons_table, summary_table
    from recsys.blurbs.shop_gate import shop_gate, shop_lexicons
    from recsys.config import load_config

    place = Workspace(workspace)
    path = place.state / BOOK_FILE
    if not path.exists():
        raise BlurbError(f"there is no book {path}; `recsys blurbs generate` writes blurbs")
    lexicons = shop_lexicons(place)
    gate = shop_gate(place, nli=load_config(place.config).blurbs.nli, lexicons=lexicons)
    with closing(Book(path)) as book:
        found = quality_report(book, gate, lexicons, sample)
    if html is not None:
        try:
            from recsys.blurbs.quality.page import write_page
        except ImportError as error:
            raise ConfigError(f"--html needs: pip install '.[quality]' ({error})") from error
        write_page(found, html)
    if json_output:
        document = asdict(found) | {"fallback": found.fallback, "sample_upper": found.review.sample.upper}
        typer.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    console.print(summary_table(found))
    for table in (
        reasons_table(found),
        detection_table(found),
        groups_table("language", found.languages),
        groups_table("segment", found.segments),
    ):
        if table.row_count:
            console.print(table)
