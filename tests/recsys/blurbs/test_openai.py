"""Tests of the backend that asks a server, against one that misbehaves on demand."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.backends.openai import OpenAiBackend
from recsys.blurbs.backends.spending import Spending
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.prompt import Task
from recsys.errors import BlurbError
from tests.recsys.blurbs.bench import FACTS, config
from tests.recsys.blurbs.scripted_server import Answer, said, scripted_server, words

TASK = Task(FACTS, "de", "short", "The reader cooks.")
Ask = Callable[[OpenAiBackend], Any]


def asked(settings: BlurbConfig, times: int = 1) -> list[Draft | str]:
    """What comes of writing several times."""

    async def scenario() -> list[Draft | str]:
        backend = OpenAiBackend(settings, "secret")
        drafts: list[Draft | str] = []
        for _ in range(times):
            try:
                drafts.append(await backend.write(TASK))
            except BlurbError as error:
                drafts.append(str(error))
        await backend.close()
        return drafts

    return asyncio.run(scenario())


def test_facts_come_numbered_between_marks_and_the_answer_by_a_schema() -> None:
    with scripted_server(lambda _: said("Ein Löffel.", "1", "99")) as server:
        drafts = asked(config(server.url), 2)
        first, second = server.requests
    assert drafts == [Draft("Ein Löffel.", ("1",), 7)] * 2
    assert first["response_format"]["type"] == "json_schema"
    last = first["messages"][-1]["content"]
    assert '"1": "title: Beech spoon"' in last
    assert "German" in last
    assert "The reader cooks." in last
    assert "price" not in last
    assert first["messages"][:-1] == second["messages"][:-1]
    assert last != second["messages"][-1]["content"]
    assert len(server.probes) == 1


@pytest.mark.parametrize(
    ("forms", "probes"), [(("json_object", "plain"), 2), (("plain",), 3), (("json_schema",), 1)]
)
def test_the_form_of_an_answer_is_found_out_once(forms: tuple[str, ...], probes: int) -> None:
    with scripted_server(lambda _: said("x")) as server:
        server.forms = forms
        assert asked(config(server.url), 2) == [Draft("x", (), 7)] * 2
        assert len(server.probes) == probes


@pytest.mark.parametrize(
    ("content", "text", "fault"),
    [
        ('```json\n{"blurb": "a", "used_facts": []}\n```', "a", ""),
        ('<think>hm</think>{"blurb": "a", "used_facts": []}', "a", ""),
        ("A spoon.", "A spoon.", "bad_answer"),
        ('{"blurb": 3, "used_facts": []}', '{"blurb": 3, "used_facts": []}', "bad_answer"),
        ('["a"]', '["a"]', "bad_answer"),
        ("", "", "bad_answer"),
    ],
)
def test_an_answer_is_read_or_it_is_none(content: str, text: str, fault: str) -> None:
    with scripted_server(lambda _: words(content)) as server:
        (draft,) = asked(config(server.url))
    assert isinstance(draft, Draft)
    assert (draft.text, draft.fault) == (text, fault)


def test_a_failed_call_is_made_once_more() -> None:
    answers = iter([(500, {}), said("x")])
    with scripted_server(lambda _: next(answers)) as server:
        assert asked(config(server.url)) == [Draft("x", (), 7)]


def test_a_refusal_is_not_asked_again() -> None:
    with scripted_server(lambda _: (401, {})) as server:
        assert asked(config(server.url)) == ["the language model's server refused: status 401"]
        assert len(server.requests) == 1


def test_after_repeated_failures_the_server_is_left_alone() -> None:
    with scripted_server(lambda _: (503, {})) as server:
        drafts = asked(config(server.url), 4)
        assert len(server.requests) == 5
    assert "5 times in a row" in str(drafts[-1])


def test_a_server_that_hangs_is_not_waited_for() -> None:
    def hang(_: dict[str, Any]) -> Answer:
        time.sleep(0.5)
        return said("x")

    with scripted_server(hang) as server:
        (said_no,) = asked(config(server.url, timeout=timedelta(seconds=0.1)))
    assert "did not answer: " in str(said_no)


def test_a_server_that_is_not_there_is_said_so() -> None:
    (said_no,) = asked(config("http://127.0.0.1:9/v1"))
    assert "blurbs.base_url" in str(said_no)


def test_a_day_has_so_many_calls() -> None:
    now = [0.0]
    spending = Spending(2, lambda: now[0])
    spending.spend()
    spending.spend()
    with pytest.raises(BlurbError, match="2 calls a day are spent"):
        spending.spend()
    now[0] += 12 * 60 * 60
    spending.spend()
