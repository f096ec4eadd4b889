"""A catalogue on disk: the items, and beside them what follows from them and takes long to work out.

::

    items.parquet           the items, sorted by id
    derived.safetensors     texts, codes, shared words and numbers of the items, and the index of their words

Without the second file, as bundles once were, everything follows from the first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file
from scipy import sparse

from recsys.catalogue import ATTRIBUTE_NAMES, Catalogue
from recsys.mapped import mapped_arrays
from recsys.strings import Strings
from recsys.word_index import WordIndex

ITEMS_FILE = "items.parquet"
_DERIVED = "derived.safetensors"


def save_catalogue(catalogue: Catalogue, directory: Path) -> None:
    """Write a catalogue, without later changes, into a directory that exists."""
    catalogue.frame.write_parquet(directory / ITEMS_FILE)
    words, shared = catalogue.word_index, catalogue.shared_words
    by_text, by_text_starts = catalogue.items_by_text
    arrays = {
        **_packed("texts", catalogue.texts),
        **_packed("words", words.vocabulary),
        "text_of_item": catalogue.text_of_item,
        "items_by_text": by_text,
        "items_by_text.starts": by_text_starts,
        "words.postings": words.starts,
        "words.texts": words.texts,
        "words.weights": words.weights,
        "words.mean_length": np.asarray([words.mean_length]),
        "shared.data": shared.data,
        "shared.indices": shared.indices,
        "shared.indptr": shared.indptr,
        "shared.shape": np.asarray(shared.shape),
        "numbers": catalogue.numbers,
        **{f"codes.{name}": catalogue.attribute_codes[name] for name in ATTRIBUTE_NAMES},
    }
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, directory / _DERIVED)


def load_catalogue(directory: Path) -> Catalogue:
    """Read what ``save_catalogue`` wrote; processes share what the second file holds."""
    catalogue = Catalogue(pl.read_parquet(directory / ITEMS_FILE))
    if (directory / _DERIVED).exists():
        vars(catalogue).update(_derived(mapped_arrays(directory / _DERIVED)))
    return catalogue


def _derived(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What ``Catalogue`` would work out for itself, by the name of the property."""
    texts, vocabulary = (_unpacked(name, arrays) for name in ("texts", "words"))
    shared = tuple(arrays[f"shared.{part}"] for part in ("data", "indices", "indptr"))
    starts, found, weights, mean = (
        arrays[f"words.{part}"] for part in ("postings", "texts", "weights", "mean_length")
    )
    return {
        "_texts": (texts, arrays["text_of_item"]),
        "items_by_text": (arrays["items_by_text"], arrays["items_by_text.starts"]),
        "word_index": WordIndex(len(texts), vocabulary, starts, found, weights, float(mean[0])),
        "shared_words": sparse.csr_array(shared, shape=tuple(arrays["shared.shape"].tolist())),
        "numbers": arrays["numbers"],
        "attribute_codes": {name: arrays[f"codes.{name}"] for name in ATTRIBUTE_NAMES},
    }


def _packed(name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    strings = Strings.of(texts)
    return {name: strings.content, f"{name}.starts": strings.starts}


def _unpacked(name: str, arrays: dict[str, np.ndarray]) -> Strings:
    return Strings(arrays[name], arrays[f"{name}.starts"])
