"""Runs a Hugging Face language model of a local directory within this process, several texts at a time.

Only safetensors are read and no code of the model's own is run. On two cores a small GGUF file is several
times faster, see ``recsys.blurbs.backends.llama``.
"""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from recsys.blurbs.backends.answer import read_answer
from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.prompt import Prompter, Task
from recsys.blurbs.row import Source
from recsys.errors import ConfigError

_Waiting = tuple[Task, "asyncio.Future[Draft]"]


class TransformersBackend:
    """One model; for one event loop."""

    source = Source.GENERATED
    as_json = False
    num_attempts = 2

    def __init__(self, config: BlurbConfig) -> None:
        """Load the model.

        Raises:
            ConfigError: There is no such directory, or it holds no such model.
        """
        path = Path(config.model)
        self._config = config
        self._tokenizer, self._network = _load(path)
        self._model = f"{path.name}@{_revision(path)}"
        self._prompter = Prompter(as_json=False)
        self._thread = ThreadPoolExecutor(1, "blurb-model")
        self._waiting: list[_Waiting] = []
        self._batches: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The directory's name, and the hash of its weights."""
        return self._model

    @property
    def decoding(self) -> str:
        """The likeliest words, whatever the temperature, and the limit."""
        return f"greedy,max_tokens={self._config.max_tokens}"

    @property
    def canary(self) -> str:
        """The prompt's canary."""
        return self._prompter.canary

    async def write(self, task: Task) -> Draft:
        """Write one text, together with those that are asked for at the same time; they do not mix."""
        future: asyncio.Future[Draft] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, future))
        if self._batches is None or self._batches.done():
            self._batches = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Let the model go."""
        self._thread.shutdown()

    async def _run(self) -> None:
        await asyncio.sleep(0)  # those who ask in this turn of the loop come along
        while self._waiting:
            batch = self._waiting[: self._config.parallel]
            del self._waiting[: self._config.parallel]
            tasks = [task for task, _ in batch]
            loop = asyncio.get_running_loop()
            try:
                drafts = await loop.run_in_executor(self._thread, self._written, tasks)
            except Exception as error:  # noqa: BLE001  # belongs to those who wait
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), draft in zip(batch, drafts, strict=True):
                if not future.done():
                    future.set_result(draft)

    def _written(self, tasks: list[Task]) -> list[Draft]:
        import torch

        prompts = [
            self._tokenizer.apply_chat_template(
                self._prompter.messages(task), tokenize=False, add_generation_prompt=True
            )
            for task in tasks
        ]
        encoded = self._tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        most = self._config.max_tokens
        with torch.inference_mode():
            tokens = self._network.generate(
                **encoded, max_new_tokens=most, do_sample=False, pad_token_id=self._tokenizer.pad_token_id
            )
        answers = tokens[:, encoded["input_ids"].shape[1] :].tolist()
        return [self._draft(answer, task) for answer, task in zip(answers, tasks, strict=True)]

    def _draft(self, answer: list[int], task: Task) -> Draft:
        ends = self._network.generation_config.eos_token_id
        stops = set(ends) if isinstance(ends, list) else {ends}
        length = next((at for at, token in enumerate(answer) if token in stops), None)
        content = self._tokenizer.decode(answer[:length], skip_special_tokens=True).strip()
        finish = "stop" if length is not None or "\n" in content else "length"
        return read_answer(content, finish, task, len(answer[:length]), as_json=False)


def _load(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (path / "config.json").is_file():
        raise ConfigError(
            "the backend transformers takes a directory with a config.json as blurbs.model, "
            f"got {str(path)!r}"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, padding_side="left"
        )
        network = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"the language model in {path} cannot be loaded: {error}") from error
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"the tokenizer in {path} has no chat template; expected a model that was instructed"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    network.requires_grad_(False)
    return tokenizer, network  # in evaluation mode already


def _revision(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:12]
