"""Tests of the gate's word on lines of items' own words."""

import time
from collections.abc import Sequence

from structlog.testing import capture_logs

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.verdict import Verdict
from serving.line_judge import LineJudge
from tests.serving.running import PATIENCE_SECONDS


def told(judge: LineJudge, line: str, language: str = "en") -> bool:
    facts = Facts.of({"item_id": "1", "title": "Rye bread", "description": line})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := judge(facts, line, language)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_the_gate_decides_on_lines_whether_or_not_their_language_is_known() -> None:
    judge = LineJudge(Gate, ["en"])
    for language in ("en", ""):
        assert told(judge, "A loaf of rye bread.", language)
        assert not told(judge, "Cures cancer in a week.", language)
        assert not told(judge, "The best bread in the world.", language)
    judge.close()


class Broken(Gate):
    """A gate that breaks on every line."""

    def check(self, facts: Facts, text: str, language: str, others: Sequence[str] = ()) -> Verdict:
        raise ValueError(facts, text, language, others)  # none of it belongs in a log


def test_a_gate_that_breaks_shows_nothing_and_says_so_once() -> None:
    judge = LineJudge(Broken, ["en"])
    with capture_logs() as said:
        assert not told(judge, "A loaf of rye bread.")
        assert not told(judge, "Another loaf of rye bread.")
        judge.close()
    assert [(line["log_level"], line["error"]) for line in said] == [("error", "ValueError")]
