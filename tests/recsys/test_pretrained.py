import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from recsys.encoder import TextEncoder, encode_texts
from recsys.errors import ConfigError
from recsys.pretrained import longest_input, model_path
from tests.tiny_encoder import make_tiny_encoder

TEXTS = ["红苹果", "绿色的大葱", "白萝卜和胡萝卜", "red apple", "green leek"]
SMALL: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
SMALL_DISTILBERT: dict[str, Any] = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SMALL)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SMALL)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SMALL)),
    "electra": lambda: ElectraModel(ElectraConfig(**SMALL, embedding_size=16)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=120, max_position_embeddings=40, **SMALL_DISTILBERT)
    ),
}
OTHERS: dict[str, Callable[[], PreTrainedModel]] = {
    "deberta": lambda: DebertaV2Model(DebertaV2Config(**SMALL)),
    "gpt2": lambda: GPT2Model(
        GPT2Config(vocab_size=120, n_embd=16, n_layer=2, n_head=2, bos_token_id=2, eos_token_id=3)
    ),
    "t5": lambda: T5Model(T5Config(vocab_size=120, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
    "bert as a decoder": lambda: BertModel(BertConfig(**SMALL, is_decoder=True)),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose tokenizer reads Chinese by the character."""
    return make_tiny_encoder(tmp_path_factory.mktemp("tokenizer"), TEXTS)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.encoder.inference_dtype", lambda: torch.float32)


def saved(model: PreTrainedModel, tokenizer: Path, directory: Path) -> Path:
    model.save_pretrained(directory)
    for file in tokenizer.glob("token*"):
        shutil.copy(file, directory)
    return directory


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read_cut_saved_and_read_again(family: str, tokenizer: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(FAMILIES[family](), tokenizer, tmp_path / "given")
    model, words = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    with torch.inference_mode():
        means = [
            model(words(text, return_tensors="pt")["input_ids"]).last_hidden_state[0].mean(0)
            for text in TEXTS
        ]
    expected = functional.normalize(torch.stack(means), dim=1)
    for num_upper in (0, 1, 2):
        encoder = TextEncoder(path, num_upper, 16)
        torch.testing.assert_close(encode_texts(encoder, TEXTS), expected, atol=1e-5, rtol=0)
        encoder.save(tmp_path / f"again-{num_upper}")
        again = TextEncoder(tmp_path / f"again-{num_upper}", 1, 16)
        torch.testing.assert_close(encode_texts(again, TEXTS), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_model_that_is_no_such_encoder_is_refused(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an encoder with a stack of layers"):
        TextEncoder(saved(OTHERS[kind](), tokenizer, tmp_path), 1, 16)


def test_a_directory_without_weights_or_tokenizer_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    shutil.copy(tokenizer / "config.json", tmp_path)
    with pytest.raises(ConfigError, match="no weights"):
        TextEncoder(tmp_path, 1, 16)
    shutil.copy(tokenizer / "model.safetensors", tmp_path)
    with pytest.raises(ConfigError, match="no tokenizer"):
        TextEncoder(tmp_path, 1, 16)


def test_weights_of_another_model_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(tokenizer, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match="do not fit"):
        TextEncoder(tmp_path, 1, 16)


@pytest.mark.parametrize("content", ["{", '{"model_type": "no such model"}'])
def test_a_damaged_or_unknown_configuration_is_refused(content: str, tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(tokenizer, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"cannot be (read|loaded)"):
        TextEncoder(tmp_path, 1, 16)


def test_damaged_weights_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(tokenizer, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        TextEncoder(tmp_path, 1, 16)


def test_weights_in_half_precision_are_read_in_single(tokenizer: Path, tmp_path: Path) -> None:
    model = FAMILIES["bert"]()
    for weight in model.parameters():
        weight.data = weight.data.half()
    path = saved(model, tokenizer, tmp_path)
    assert {weight.dtype for weight in TextEncoder(path, 1, 16).parameters()} == {torch.float32}


def test_a_text_is_no_longer_than_the_positions_allow(tokenizer: Path, tmp_path: Path) -> None:
    path = saved(FAMILIES["roberta"](), tokenizer, tmp_path)
    encoder = TextEncoder(path, 1, 512)
    assert encoder.max_tokens == 38  # two of the 40 positions belong to padding
    assert bool(encode_texts(encoder, ["苹果 " * 100]).isfinite().all())
    assert longest_input(nn.Module()) == 512


def test_a_model_is_found_by_directory_or_by_the_packages_name(tokenizer: Path, tmp_path: Path) -> None:
    assert model_path(str(tokenizer)) == tokenizer
    assert (model_path("all-minilm-l6-v2") / "config.json").is_file()
    for absent in (str(tmp_path), "bert-base-uncased"):
        with pytest.raises(ConfigError, match=r"directory with a config\.json"):
            model_path(absent)
