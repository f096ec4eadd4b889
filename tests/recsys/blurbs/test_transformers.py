"""Tests of the backend that runs a Hugging Face directory, with a tiny model that speaks nonsense."""

import asyncio
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.backends.transformers import TransformersBackend
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.facts import Facts
from recsys.blurbs.prompt import Task
from recsys.errors import ConfigError
from tests.recsys.blurbs.bench import FACTS

_TEMPLATE = "{% for m in messages %}{{ m.content }} <end> {% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, and a tokenizer of a few words."""
    directory = tmp_path_factory.mktemp("model")
    words = (
        "<pad>",
        "<unk>",
        "<end>",
        "facts",
        "title",
        "beech",
        "spoon",
        "sentence",
        "in",
        "English",
        "German",
    )
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # unannotated upstream
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(settings).save_pretrained(directory)
    return directory


def test_texts_that_are_asked_for_together_are_those_that_are_asked_for_alone(model: Path) -> None:
    settings = BlurbConfig(backend="transformers", model=str(model), max_tokens=8, parallel=3)
    others = [Facts.of({"item_id": str(n), "title": "spoon " * (n + 1)}) for n in range(4)]
    tasks = [Task(facts, "en", "short") for facts in (FACTS, *others)]

    async def scenario() -> tuple[list[Draft], list[Draft], str]:
        backend = TransformersBackend(settings)
        together = list(await asyncio.gather(*(backend.write(task) for task in tasks)))
        alone = [await backend.write(task) for task in tasks]
        await backend.close()
        return together, alone, backend.model

    together, alone, name = asyncio.run(scenario())
    assert together == alone
    assert name.startswith(f"{model.name}@")
    assert len(name.rpartition("@")[2]) == 12


def test_a_model_without_a_chat_template_is_refused(model: Path, tmp_path: Path) -> None:
    for file in model.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="no chat template"):
        TransformersBackend(BlurbConfig(backend="transformers", model=str(tmp_path)))
