"""The optional entailment model: loaded from a directory, and only ever stricter."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from recsys.blurbs.facts import Facts
from recsys.blurbs.gate import Gate
from recsys.blurbs.nli import Entailment
from recsys.errors import ConfigError

_FACTS = Facts.of({"item_id": "1", "title": "Trail Jacket", "attributes": {"material": "nylon"}})
_TEXT = "A trail jacket of nylon."
_LABELS = ("contradiction", "entailment", "neutral")


def _model(path: Path, certain: str, labels: tuple[str, ...] = _LABELS) -> Path:
    """A tiny model of random weights whose head always finds one label certain."""
    torch.manual_seed(7)
    words = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "trail": 4, "jacket": 5, "nylon": 6}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")  # type: ignore[no-untyped-call]
    fast.save_pretrained(path)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
    )
    network = BertForSequenceClassification(config)
    with torch.no_grad():
        network.classifier.bias[labels.index(certain)] += 20
    network.save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("label", "outcome", "codes"),
    [
        ("entailment", "pass", []),
        ("contradiction", "reject", ["contradicted"]),
        ("neutral", "review", ["not_entailed"]),
    ],
)
def test_a_model_is_asked_about_every_sentence(
    label: str, outcome: str, codes: list[str], tmp_path: Path
) -> None:
    verdict = Gate(nli=Entailment.load(_model(tmp_path, label))).check(_FACTS, _TEXT, "en")
    assert (verdict.outcome, [reason.code for reason in verdict.reasons]) == (outcome, codes)


def test_a_model_takes_no_reason_away(tmp_path: Path) -> None:
    gate = Gate(nli=Entailment.load(_model(tmp_path, "entailment")))
    assert gate.check(_FACTS, "A waterproof trail jacket.", "en").outcome == "reject"
    assert gate.version != Gate().version


def test_what_is_no_entailment_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no entailment model"):
        Entailment.load(tmp_path / "absent")
    with pytest.raises(ConfigError, match="expected entailment"):
        Entailment.load(_model(tmp_path / "other", "a", ("a", "b")))
