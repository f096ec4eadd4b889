"""An optional learned check: a cross-encoder that says whether the facts entail a sentence.

Any Hugging Face sequence classifier whose labels name *entailment* and *contradiction* serves; it is loaded
from a directory, never fetched. Source: segments compared one by one and the best one taken, as in SummaC
(Laban et al., TACL 2022). It can only add reasons: what the other checks refuse stays refused.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import regex
import torch

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.facts import Facts
from recsys.blurbs.verdict import REJECT, REVIEW, Reason
from recsys.errors import ConfigError

_LEAST_ENTAILED: Final = 0.5
_MOST_CONTRADICTED: Final = 0.5
_LONGEST: Final = 256
_SENTENCE: Final = regex.compile(r"[^.!?。！？]+[.!?。！？]*")


@dataclass(frozen=True)
class Entailment:
    """A loaded model.

    Attributes:
        version: The directory's name with a hash of its weights.
    """

    version: str
    _tokenizer: Any
    _network: Any
    _entailment: int
    _contradiction: int
    _lock: Lock

    @classmethod
    def load(cls, path: Path) -> "Entailment":
        """Load a model from a directory; only safetensors are read, and no code of its own is run.

        Raises:
            ConfigError: There is no such model, or its labels are not those of entailment.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            network = AutoModelForSequenceClassification.from_pretrained(
                path, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{path} holds no entailment model: {error}") from error
        labels = {str(label).lower(): int(place) for place, label in network.config.id2label.items()}
        if not {"entailment", "contradiction"} <= labels.keys():
            raise ConfigError(
                f"the model in {path} has the labels {', '.join(labels)}; "
                "expected entailment and contradiction among them"
            )
        version = f"{path.name}@{_weights_hash(path)}"
        places = labels["entailment"], labels["contradiction"]
        return cls(version, tokenizer, network.eval(), *places, Lock())

    def check(self, examined: Examined) -> Iterator[Reason]:
        """Yield ``contradicted`` and ``not_entailed`` by sentence."""
        premises = _premises(examined.facts)
        for sentence in _SENTENCE.finditer(examined.text):
            if not sentence[0].strip():
                continue
            entailed, contradicted = self._judge(premises, sentence[0])
            if contradicted > _MOST_CONTRADICTED and entailed < _LEAST_ENTAILED:
                yield examined.reason("contradicted", *sentence.span(), REJECT)
            elif entailed < _LEAST_ENTAILED:
                yield examined.reason("not_entailed", *sentence.span(), REVIEW)

    def _judge(self, premises: list[str], sentence: str) -> tuple[float, float]:
        """The highest probabilities, over the premises, that one entails and that one contradicts it."""
        batch = self._tokenizer(
            premises,
            [sentence] * len(premises),
            truncation="only_first",
            max_length=_LONGEST,
            padding=True,
            return_tensors="pt",
        )
        with self._lock, torch.inference_mode():
            probabilities = self._network(**batch).logits.softmax(dim=-1)
        best = probabilities.max(dim=0).values
        return float(best[self._entailment]), float(best[self._contradiction])


def _premises(facts: Facts) -> list[str]:
    """All facts as one text, which a sentence that joins several needs, and the description by itself."""
    named = [("", facts.title), ("brand: ", facts.brand), ("category: ", facts.category)]
    named += [(f"{fact.attribute}: ", fact.value) for fact in facts.attributes]
    stated = ". ".join(f"{name}{value}" for name, value in named if value)
    return [text for text in (stated, facts.description) if text] or [""]


def _weights_hash(path: Path) -> str:
    known = hashlib.sha256()
    for file in sorted(path.glob("*.safetensors")):
        known.update(file.read_bytes())
    return known.hexdigest()[:12]
