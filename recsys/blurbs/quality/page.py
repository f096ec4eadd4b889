"""The quality report as one self-contained HTML page."""

from pathlib import Path

import jinja2

from recsys.blurbs.quality.charts import charts
from recsys.blurbs.quality.report import QualityReport
from recsys.blurbs.quality.table import rows
from recsys.workspace import atomic_path


def write_page(report: QualityReport, path: Path) -> None:
    """Write the page, atomically."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recsys.blurbs.quality", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("quality.html.j2")
    page = template.render(report=report, rows=rows(report), charts=charts(report))
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
