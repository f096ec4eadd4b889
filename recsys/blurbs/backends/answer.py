"""Reads a model's answer: JSON as asked for, or the first line of what it said instead."""

import json
import re
from typing import Final

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.prompt import Task, numbered

_THOUGHTS: Final = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_FENCE: Final = re.compile(r"^```(?:json)?\s*|\s*```$")
_QUOTES: Final = "\"'“”„‚‘’«»「」"
_NEXT_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-ZÄÖÜ])|(?<=[。！？])")  # not after "12 oz."
_WORD: Final = re.compile(r"\w+")


def read_answer(content: str, finish: str, task: Task, tokens: int, *, as_json: bool) -> Draft:
    """The draft in a model's words.

    Args:
        content: What it said.
        finish: Why it stopped; anything but ``stop`` means that its last words are missing.
        task: What it was asked.
        tokens: Tokens of the answer.
        as_json: Whether the answer has to be JSON.
    """
    content = _FENCE.sub("", _THOUGHTS.sub("", content).strip())
    if not as_json:
        return plain_draft(content, finish, task, tokens)
    if finish != "stop":
        return Draft(content, tokens=tokens, fault="cut_off")
    try:
        given = json.loads(content)
        text, used = given["blurb"], given["used_facts"]
    except (ValueError, KeyError, TypeError):
        return Draft(content, tokens=tokens, fault="bad_answer")
    if not isinstance(text, str) or not isinstance(used, list):
        return Draft(content, tokens=tokens, fault="bad_answer")
    known = numbered(task)
    numbers = (str(number) for number in used if isinstance(number, str | int))
    return Draft(text.strip(), tuple(number for number in numbers if number in known), tokens)


def plain_draft(content: str, finish: str, task: Task, tokens: int) -> Draft:
    """A draft from plain words: their first sentence, if it has an end.

    Which facts it uses is found by the words that they share.
    """
    first, _, rest = content.strip().partition("\n")
    sentence, *more = _NEXT_SENTENCE.split(first.strip(), maxsplit=1)
    if finish != "stop" and not more and not rest:
        return Draft(sentence, tokens=tokens, fault="cut_off")
    if len(sentence) > 1 and sentence[0] in _QUOTES and sentence[-1] in _QUOTES:
        sentence = sentence[1:-1].strip()
    return Draft(sentence, facts_in(sentence, task), tokens)


def facts_in(text: str, task: Task) -> tuple[str, ...]:
    """Numbers of the facts that share a word with a text, or stand in it whole."""
    folded = text.casefold()
    words = {word for word in _WORD.findall(folded) if len(word) > 3 or word.isdecimal()}

    def is_used(line: str) -> bool:
        value = line.partition(": ")[2].casefold()
        return value in folded or not words.isdisjoint(_WORD.findall(value))

    return tuple(number for number, line in numbered(task).items() if is_used(line))
