"""Tests of the thread that makes items' own words into lines."""

import time
from collections.abc import Sequence

from structlog.testing import capture_logs

from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.errors import BlurbError
from serving.item_words import ItemWords
from serving.own_lines import Screen
from serving.words_thread import WordsThread
from tests.serving.running import PATIENCE_SECONDS

_ROW = {"item_id": "1", "title": "Rye bread", "description": "A loaf of rye bread."}


def _until_said(said: Sequence[object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not said:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_row_that_breaks_the_screen_has_no_lines_and_the_next_one_has() -> None:
    def screen(facts: Facts, _line: str, _language: str) -> bool:
        if facts.item_id == "2":
            raise ValueError(facts)
        return True

    made: dict[int, ItemWords] = {}
    thread = WordsThread(lambda: screen, HiddenAttributes.of())
    thread.take = made.__setitem__
    with capture_logs() as said:
        thread.ask(2, _ROW | {"item_id": "2"})
        for _ in range(2):
            thread.ask(1, _ROW)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while 1 not in made:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        thread.close()
    thread.ask(3, _ROW | {"item_id": "3"})
    thread.close()
    assert made.keys() == {1}
    assert made[1].lines["line"] == "A loaf of rye bread."
    assert [line["error"] for line in said] == ["ValueError"]


def test_without_a_gate_there_are_no_lines() -> None:
    def no_screen() -> Screen:
        raise BlurbError("the lexicon is gone")

    thread = WordsThread(no_screen, HiddenAttributes.of())
    with capture_logs() as said:
        thread.ask(1, _ROW)
        _until_said(said)
        thread.ask(2, _ROW)
        thread.close()
    assert [line["reason"] for line in said] == ["the lexicon is gone"]
