"""Asks any server that speaks the OpenAI protocol: vLLM, llama.cpp, Ollama, or a hosted one.

Servers differ in how an answer can be forced to be JSON, so the first call finds out: by a schema, as any
JSON object, or by asking for it.
"""

import asyncio
import time
from typing import Any, Final

import httpx2 as httpx
import structlog

from recsys.blurbs.backends.answer import read_answer
from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.backends.outage import Outage
from recsys.blurbs.backends.spending import Spending
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.prompt import ANSWER_SCHEMA, Prompter, Task
from recsys.blurbs.row import Source
from recsys.errors import BlurbError

_FORMATS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "json_schema",
        {"type": "json_schema", "json_schema": {"name": "blurb", "strict": True, "schema": ANSWER_SCHEMA}},
    ),
    ("json_object", {"type": "json_object"}),
    ("plain", {}),
)
_REFUSED: Final = frozenset({400, 404, 415, 422, 501})
"""What servers answer to a format that they do not know."""
_CALLS: Final = 2
_log = structlog.get_logger(__name__)


class OpenAiBackend:
    """One server; for one event loop."""

    source = Source.GENERATED
    as_json = True
    num_attempts = 2

    def __init__(self, config: BlurbConfig, api_key: str = "") -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        seconds = config.timeout.total_seconds()
        self._client = httpx.AsyncClient(
            base_url=f"{config.base_url.rstrip('/')}/", headers=headers, timeout=seconds
        )
        self._seconds = seconds
        self._config = config
        self._prompter = Prompter(as_json=True)
        self._format: dict[str, Any] | None = None
        self._probing = asyncio.Lock()
        self._outage = Outage()
        self._spending = Spending(config.calls_per_day)

    @property
    def model(self) -> str:
        """The configured name and revision."""
        return f"{self._config.model}@{self._config.revision or 'unknown'}"

    @property
    def decoding(self) -> str:
        """Temperature and limit."""
        return f"temperature={self._config.temperature:g},max_tokens={self._config.max_tokens}"

    @property
    def canary(self) -> str:
        """The prompt's canary."""
        return self._prompter.canary

    async def write(self, task: Task) -> Draft:
        """Ask for one text; a call that fails is made once more.

        Raises:
            BlurbError: The server does not answer or refuses, or the day's calls are spent.
        """
        response_format = await self._known_format()
        messages = self._prompter.messages(task)
        for attempt in range(1, _CALLS + 1):
            try:
                return self._draft(await self._ask(messages, response_format), task)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if attempt == _CALLS or (status < 500 and status != 429):
                    raise BlurbError(f"the language model's server refused: status {status}") from error
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                if attempt == _CALLS:
                    raise BlurbError(
                        f"the language model's server did not answer: {type(error).__name__}; "
                        f"see that blurbs.base_url ({self._config.base_url}) is right"
                    ) from error
        raise AssertionError  # the last attempt returns or raises

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _known_format(self) -> dict[str, Any]:
        async with self._probing:
            if self._format is None:
                self._format = await self._probe()
            return self._format

    async def _probe(self) -> dict[str, Any]:
        messages = [{"role": "user", "content": 'Answer with JSON: {"blurb": "a", "used_facts": []}'}]
        for name, given in _FORMATS:
            try:
                await self._ask(messages, given)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in _REFUSED and given:
                    continue
                raise BlurbError(f"the language model's server refused: status {status}") from error
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                raise BlurbError(
                    f"the language model's server did not answer: {type(error).__name__}; "
                    f"see that blurbs.base_url ({self._config.base_url}) is right"
                ) from error
            _log.info("the language model's server answers in a form", form=name)
            return given
        raise AssertionError  # the last format returns or raises

    async def _ask(self, messages: list[dict[str, str]], response_format: dict[str, Any]) -> dict[str, Any]:
        self._outage.require_over()
        self._spending.spend()
        body = {
            "model": self._config.model,
            "messages": messages,
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_tokens,
            "stream": False,
        } | ({"response_format": response_format} if response_format else {})
        try:
            async with asyncio.timeout(self._seconds):  # httpx counts between bytes, this counts them all
                response = await self._client.post("chat/completions", json=body)
            if response.status_code not in _REFUSED:
                response.raise_for_status()
        except (httpx.HTTPError, TimeoutError):
            self._outage.failed(time.monotonic())
            raise
        self._outage.succeeded()
        response.raise_for_status()
        answer = response.json()
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer

    def _draft(self, answer: dict[str, Any], task: Task) -> Draft:
        try:
            choice = answer["choices"][0]
            content = choice["message"]["content"] or ""
            finish = str(choice["finish_reason"])
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError("the answer has no message") from error
        return read_answer(content, finish, task, tokens, as_json=True)
