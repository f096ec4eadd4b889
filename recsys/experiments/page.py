"""An experiment's report as one self-contained HTML page."""

from pathlib import Path

import jinja2

from recsys.experiments.charts import charts
from recsys.experiments.result import Result
from recsys.workspace import atomic_path


def write_page(result: Result, path: Path) -> None:
    """Write the page, atomically.

    Args:
        result: What ``analyze`` or ``report`` returned.
        path: Where it goes.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recsys.experiments", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("experiment.html.j2").render(result=result, charts=charts(result))
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
