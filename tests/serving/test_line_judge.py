"""Tests of the gate's word on lines of items' own words."""

import time

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
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
