"""A very small text encoder with random weights, in Hugging Face's layout, for tests that train for real."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make_tiny_encoder(directory: Path, texts: Sequence[str], *, width: int = 32, layers: int = 2) -> Path:
    """Write an encoder whose vocabulary is the words and letters of ``texts``; a few hundred kilobytes."""
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(texts, normalizer, splitter), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # unannotated upstream
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    return directory


def _vocabulary(
    texts: Sequence[str], normalizer: normalizers.Normalizer, splitter: pre_tokenizers.PreTokenizer
) -> dict[str, int]:
    """The same in every process, which a trained vocabulary is not: the library breaks ties at random."""
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    letters = sorted(set("".join(words)))
    pieces = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *sorted(words)]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
