"""Lets the shop's gate decide on lines of items' own words; takes a millisecond or two for a line."""

from collections.abc import Sequence
from typing import Final

import structlog

from recsys.blurbs.facts import Facts
from recsys.blurbs.judging import TextGate
from serving.line_screen import may_be_shown

_MOST_KEPT: Final = 65_536
_log = structlog.get_logger(__name__)


class LineJudge:
    """A ``serving.own_lines.Screen``, for one thread."""

    def __init__(self, gate: TextGate, languages: Sequence[str]) -> None:
        """Judge nothing yet.

        Args:
            gate: The gate.
            languages: What a line may be in, where its item does not tell.
        """
        self._gate, self._languages = gate, tuple(languages)
        self._verdicts: dict[tuple[str, str, str], bool] = {}
        self._fails = False

    def __call__(self, facts: Facts, line: str, language: str) -> bool:
        """Whether a line may be shown; what was judged before is not judged again."""
        if not may_be_shown(facts, line, language):
            return False
        key = (facts.content_hash, line, language)
        if key not in self._verdicts:
            if len(self._verdicts) >= _MOST_KEPT:
                self._verdicts.clear()
            self._verdicts[key] = self._judged(facts, line, language)
        return self._verdicts[key]

    def _judged(self, facts: Facts, line: str, language: str) -> bool:
        languages = (language,) if language else self._languages
        try:
            return any(self._gate.check(facts, line, each).passed for each in languages)
        except Exception as error:  # noqa: BLE001  # whatever breaks, nothing is shown unchecked
            if not self._fails:
                _log.error("the gate breaks on a line, which is not shown", error=type(error).__name__)
            self._fails = True
            return False
