"""Tests of the gate's word on lines of items' own words."""

from collections.abc import Sequence

from structlog.testing import capture_logs

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.verdict import Verdict
from serving.line_judge import LineJudge


def told(judge: LineJudge, line: str, language: str = "en") -> bool:
    return judge(Facts.of({"item_id": "1", "title": "Rye bread", "description": line}), line, language)


def test_the_gate_decides_on_lines_whether_or_not_their_language_is_known() -> None:
    judge = LineJudge(Gate(), ["en"])
    for language in ("en", ""):
        assert told(judge, "A loaf of rye bread.", language)
        assert not told(judge, "Cures cancer in a week.", language)
        assert not told(judge, "The best bread in the world.", language)


class Counting(Gate):
    """A gate that counts and breaks."""

    num_asked = 0

    def check(self, facts: Facts, text: str, language: str, others: Sequence[str] = ()) -> Verdict:
        self.num_asked += 1
        raise ValueError(facts, text, language, others)  # none of it belongs in a log


def test_a_gate_that_breaks_shows_nothing_and_says_so_once() -> None:
    gate = Counting()
    judge = LineJudge(gate, ["en"])
    with capture_logs() as said:
        assert not told(judge, "A loaf of rye bread.")
        assert not told(judge, "Another loaf of rye bread.")
        assert not told(judge, "A loaf of rye bread.")  # judged before
    assert [(line["log_level"], line["error"]) for line in said] == [("error", "ValueError")]
    assert gate.num_asked == 2
