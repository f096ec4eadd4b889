"""Tests of the quality report over a shop that was generated and reviewed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.blurbs.commands import blurbs
from recsys.errors import BlurbError
from tests.recsys.blurbs.review.reviewed_shop import asked, waiting


def test_generate_review_and_report(shop: Path, tmp_path: Path) -> None:
    cases = waiting(shop)
    asked(shop, "review", "--approve", cases["bowl"]["id"], "--reviewer", "anna")
    asked(shop, "review", "--reject", cases["fork"]["id"], "--reason", "unsupported", "--reviewer", "anna")
    asked(shop, "review", "--approve", waiting(shop, "ben")["bowl"]["id"], "--reviewer", "ben")
    page = tmp_path / "report.html"
    found = asked(shop, "report", "--html", str(page))
    assert found["states"]["approved"] == 5
    assert found["states"]["revoked"] == 1
    assert found["sources"] == {"EXTRACTIVE": 3, "GENERATED": 1, "GENERATED_REVIEWED": 1}
    assert found["fallback"] == pytest.approx(0.6)
    assert (found["models"]["num_judged"], found["models"]["passed"]) == (5, pytest.approx(0.6))
    assert found["models"]["reasons"]["unsupported"] == pytest.approx(0.4)
    kinds = {one["kind"]: one for one in found["detection"]}
    assert all(one["stopped"] == one["auroc"] == 1 for one in kinds.values())
    assert found["cost"]["num_runs"] == 1
    assert found["cost"]["tokens_per_approved"] == pytest.approx(7 * 7 / 2)  # fork and knife were tried twice
    assert found["review"]["decisions"] == {"approved": 2, "rejected": 1}
    assert (found["review"]["sample"]["num_judged"], found["review"]["agreement"]["num_pairs"]) == (1, 1)
    assert found["languages"][0]["told"] == pytest.approx(0.9)
    text = page.read_text("utf-8")
    assert text.count('src="data:image/svg+xml') == 3
    assert "says nothing about truth" in text


def test_the_table_tells_the_same_and_a_missing_book_what_to_do(shop: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(blurbs, ["report", "--workspace", str(shop)])
    assert done.exit_code == 0, done.exception
    assert "nothing is known" in " ".join(done.output.split())
    assert "unsupported_number" in done.output
    missing = CliRunner().invoke(blurbs, ["report", "--workspace", str(tmp_path / "none")])
    assert isinstance(missing.exception, BlurbError)
