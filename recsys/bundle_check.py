"""Whether the parts of a bundle fit each other: lengths, ranges and finite numbers, whatever the hashes say.

A hash tells that a file is as it was written. This tells that it can be used: no index leads out of its
array, where compiled code would follow it, and no answer can become NaN. What is wrong but plausible, neither
sees; a signature does, see ``recsys.signature``.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.errors import BundleError
from recsys.index import VectorIndex
from recsys.item_history import ItemHistory
from recsys.moment import Parts
from recsys.neighbours import Neighbours
from recsys.product_lists import ProductLists
from recsys.strings import Strings
from recsys.word_index import WordIndex


def check_parts(parts: Parts) -> None:
    """Look at every number that is used to find another, and at every weight.

    Raises:
        BundleError: A part does not fit the others, or holds numbers that cannot be.
    """
    try:
        problem = next(_problems(parts), None)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        problem = str(error)
    if problem is not None:
        raise BundleError(f"the bundle cannot be used: {problem}; restore it or train again")


def _problems(parts: Parts) -> Iterator[str]:
    catalogue, tables = parts.catalogue, parts.tables
    num_items = len(catalogue)
    yield from _of_catalogue(catalogue)
    yield from _of_index("item vectors", parts.index, len(catalogue.texts), parts.config.encoder.dimension)
    yield from _of_index("word vectors", parts.words, len(catalogue.texts), None)
    for name in ("co_occurrence", "following", "ease"):
        yield from _of_neighbours(name, getattr(tables, name), num_items)
    yield from _of_history(tables.history, num_items, len(parts.config.state.half_lives_days))
    als, alike = tables.als, tables.resemblance
    factors = als.vectors.shape[-1]
    yield from _index("als", als.items, num_items)
    yield from _numbers("als", als.vectors, (len(als.items), factors))
    yield from _numbers("als", als.inner, (factors, factors))
    yield from _index("resemblance", alike.neighbours, num_items)
    yield from _index("resemblance", alike.unknown, num_items)
    yield from _index("resemblance", alike.text_of_item, len(alike.neighbours), num_items)
    yield from _numbers("resemblance", alike.weights, alike.neighbours.shape)
    if len(alike.neighbours) != len(catalogue.texts):
        yield "resemblance is of another number of texts"
    for name, value in parts.user_tower.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            yield f"the user tower's {name} holds numbers that are not finite"
    calibration = parts.calibration
    if not np.isfinite([calibration.slope, calibration.intercept]).all():
        yield "the calibration holds numbers that are not finite"


def _of_catalogue(catalogue: Catalogue) -> Iterator[str]:
    """What lies beside the items; whatever does not lie there follows from them."""
    known, num_items = vars(catalogue), len(catalogue)
    if len(catalogue.position) != num_items:
        yield "the catalogue has an item twice"
    texts, text_of_item = known.get("_texts", ((), ()))
    if not isinstance(texts, Strings):
        return
    yield from _of_strings("texts", texts)
    yield from _index("text of item", text_of_item, len(texts), num_items)
    order, starts = known["items_by_text"]
    yield from _index("items by text", order, num_items, num_items)
    yield from _starts("items by text", starts, len(texts), num_items)
    yield from _of_words(known["word_index"], len(texts))
    shared: sparse.csr_array = known["shared_words"]
    shared.check_format(full_check=True)
    yield from _numbers("shared words", shared.data, shared.data.shape)
    if shared.shape[0] != num_items:
        yield "shared words are of another number of items"
    yield from _numbers("numbers", known["numbers"], (num_items, known["numbers"].shape[-1]))
    for name, codes in known["attribute_codes"].items():
        yield from _index(name, codes, None, num_items, least=-1)
        if int(codes.max(initial=-1)) >= num_items:
            yield f"{name} has more values than items"


def _of_words(words: WordIndex, num_texts: int) -> Iterator[str]:
    if isinstance(words.vocabulary, Strings):
        yield from _of_strings("words", words.vocabulary)
    yield from _starts("words", words.starts, len(words.vocabulary), len(words.texts))
    yield from _index("words", words.texts, num_texts)
    yield from _numbers("words", words.weights, words.texts.shape)
    if not np.isfinite(words.mean_length):
        yield "the words' mean length is not finite"


def _of_strings(name: str, strings: Strings) -> Iterator[str]:
    yield from _starts(name, strings.starts, len(strings.starts) - 1, len(strings.content))
    if strings.content.dtype != np.uint8:
        yield f"{name} holds no bytes"
        return
    strings.content.tobytes().decode()  # says where, when it is not UTF-8


def _of_index(name: str, index: VectorIndex, num_texts: int, dimension: int | None) -> Iterator[str]:
    lists = index._lists
    if lists.codes.dtype != np.uint8 or lists.codes.ndim != 2 or len(lists.codes) != num_texts:
        yield f"{name} are not one per text"
        return
    if dimension is not None and index.dimension != dimension:
        yield f"{name} have {index.dimension} numbers where {dimension} belong"
    if isinstance(lists, ProductLists):
        num_parts, _, width = lists.codebooks.shape
        if lists.short.dtype != np.uint8 or lists.short.shape != (num_texts, num_parts):
            yield f"{name} have product codes of another shape"
        if len(lists.texts) != num_texts:
            yield f"{name} have product codes without lists"
        yield from _numbers(name, lists.codebooks, (num_parts, 256, index.dimension // max(num_parts, 1)))
        if num_parts * width != index.dimension:
            yield f"{name} have codebooks of another width"
    num_lists = len(lists.starts) - 1
    yield from _starts(name, lists.starts, num_lists, num_texts)
    if num_lists > 1 or len(lists.texts):
        yield from _index(name, lists.texts, num_texts, num_texts)
    yield from _numbers(name, lists.centroids, (num_lists, index.dimension))
    yield from _numbers(name, np.asarray(index._mean), (index.dimension,))
    if not 1 <= lists.num_probes <= num_lists:
        yield f"{name} are searched in {lists.num_probes} of {num_lists} lists"


def _of_neighbours(name: str, table: Neighbours, num_items: int) -> Iterator[str]:
    yield from _starts(name, table.starts, num_items, len(table.targets))
    yield from _index(name, table.targets, num_items)
    yield from _numbers(name, table.weights, table.targets.shape)


def _of_history(history: ItemHistory, num_items: int, num_half_lives: int) -> Iterator[str]:
    for name in ("adoption", "newcomers"):
        yield from _numbers(name, getattr(history, name), (num_half_lives, num_items))
    yield from _numbers("users", history.users, (num_items,))
    yield from _index("first_ms", history.first_ms, None, num_items)
    for name in ("rebuy_rate", "gap_days", "price", "recent_price"):
        yield from _numbers(name, getattr(history, name), (num_items,), or_nan=True)


def _index(
    name: str, array: np.ndarray, size: int | None, length: int | None = None, *, least: int = 0
) -> Iterator[str]:
    """Positions in something of a size; ``None`` for any."""
    if not np.issubdtype(array.dtype, np.integer):
        yield f"{name} holds {array.dtype} where whole numbers belong"
    elif length is not None and array.shape != (length,):
        yield f"{name} has the shape {array.shape} where ({length},) belongs"
    elif array.size and int(array.min()) < least:
        yield f"{name} holds numbers below {least}"
    elif array.size and size is not None and int(array.max()) >= size:
        yield f"{name} leads beyond the {size} that there are"


def _starts(name: str, starts: np.ndarray, num: int, end: int) -> Iterator[str]:
    yield from _index(name, starts, end + 1, num + 1)
    if len(starts) and (int(starts[0]) != 0 or int(starts[-1]) != end or bool((np.diff(starts) < 0).any())):
        yield f"{name} are not one run after the other"


def _numbers(name: str, array: np.ndarray, shape: tuple[int, ...], *, or_nan: bool = False) -> Iterator[str]:
    if not np.issubdtype(array.dtype, np.floating):
        yield f"{name} holds {array.dtype} where numbers belong"
    elif array.shape != shape:
        yield f"{name} has the shape {array.shape} where {shape} belongs"
    elif not bool((~np.isinf(array)).all() if or_nan else np.isfinite(array).all()):
        yield f"{name} holds numbers that are not finite"
