"""Lists with product codes on disk, made shard after shard so that they need not fit into memory.

Centroids and codebooks are learned once, on a sample. Then stretches of the texts are assigned and encoded,
wherever a runner has that done, and merged list by list: an external merge sort whose runs are the shards.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int64
from safetensors.numpy import save_file

from recsys.code_lists import CodeLists
from recsys.mapped import mapped_arrays, new_arrays
from recsys.product_lists import ProductLists, learned_codebooks
from recsys.runner import LocalRunner, Runner, even_parts
from recsys.unfinished import scratch_beside

TEXTS_PER_SHARD: Final = 200_000
"""Most vectors that a process has in memory while it assigns and encodes them."""
_QUANTISERS = "quantisers.safetensors"
_ROWS = ("texts", "short", "codes")
_LISTS = ("starts", "texts", "centroids", "short", "codebooks")
_SCALE = np.float32(127)
_SAMPLE = 100_000
_WRITTEN_AT_ONCE = 100_000


def write_in_shards(
    lists: CodeLists, path: Path, runner: Runner | None = None, *, texts_per_shard: int = TEXTS_PER_SHARD
) -> dict[str, float]:
    """Write the vectors of one list in many, with product codes; the statement about their search.

    Whatever the number of shards and wherever they are made, the files are the same.

    Args:
        lists: One list, in the texts' order; it may be mapped.
        path: Where they go, see ``load_lists``; what lies beside it meanwhile takes twice as much.
        runner: Where the shards are made; in this process when absent. Its nodes have ``path``'s directory.
        texts_per_shard: Most texts in one.
    """
    runner = runner or LocalRunner()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="shards-") as name:
        directory = Path(name)
        vectors = np.lib.format.open_memmap(directory / "vectors.npy", "w+", np.int8, lists.codes.shape)
        for rows in even_parts(len(lists), -(-len(lists) // _WRITTEN_AT_ONCE)):
            vectors[rows] = lists.vectors(np.arange(rows.start, rows.stop))
        vectors.flush()
        learn_quantisers(lists, directory)
        num_shards = max(runner.num_shards, -(-len(lists) // texts_per_shard))
        shards = build_shards(runner, directory / "vectors.npy", directory, num_shards)
        return merge_shards(shards, path).statement


def learn_quantisers(lists: CodeLists, directory: Path) -> None:
    """Centroids and codebooks by samples of the vectors, once for all shards.

    Args:
        lists: One list. There will be ``4 sqrt(n)``.
        directory: Where they are written; on a file system that every shard's node has.
    """
    centroids = lists.learned_centroids()
    rows = np.sort(np.random.default_rng(4).permutation(len(lists))[:_SAMPLE])
    sample = CodeLists.exact(lists.vectors(rows)).in_lists(centroids)
    save_file({"centroids": centroids, "codebooks": learned_codebooks(sample)}, directory / _QUANTISERS)


def build_shards(runner: Runner, vectors: Path, directory: Path, num_shards: int) -> list[Path]:
    """Assign and encode the vectors, shard by shard, where the runner says; the files, in the texts' order.

    Args:
        runner: Where the shards are made.
        vectors: An ``.npy`` file of int8 vectors in the texts' order, see ``recsys.index.quantise``.
        directory: Has what ``learn_quantisers`` wrote, and gets a file per shard.
        num_shards: How many; at most as many as there are texts.
    """
    parts = even_parts(len(np.load(vectors, mmap_mode="r")), num_shards)
    return runner.run(partial(_build, vectors, directory), list(enumerate(parts)), "indexing")


def _build(vectors: Path, directory: Path, numbered: tuple[int, slice]) -> Path:
    number, part = numbered
    quantisers = mapped_arrays(directory / _QUANTISERS)
    lists = CodeLists.exact(np.load(vectors, mmap_mode="r")[part]).in_lists(quantisers["centroids"])
    found = ProductLists.of(lists, quantisers["codebooks"])
    target = directory / f"shard-{number:05}.safetensors"
    arrays = {name: np.ascontiguousarray(getattr(found, name)) for name in ("starts", *_ROWS)}
    with scratch_beside(target) as scratch:  # a shard may be made twice at once, on two machines
        save_file(arrays, scratch / target.name)
        (scratch / target.name).replace(target)
    return target


def merge_shards(files: Sequence[Path], path: Path) -> ProductLists:
    """One index of all shards, list by list, each in the texts' order; it finds out how many a search reads.

    Args:
        files: What ``build_shards`` wrote, beside what ``learn_quantisers`` did.
        path: Where the index goes, see ``load_lists``.
    """
    shards = [mapped_arrays(file, at_once=False) for file in files]
    learned = mapped_arrays(files[0].with_name(_QUANTISERS))
    starts: Int64[np.ndarray, " lists_and_one"] = np.sum([shard["starts"] for shard in shards], axis=0)
    rows = {name: (shards[0][name].dtype, (int(starts[-1]), *shards[0][name].shape[1:])) for name in _ROWS}
    small = learned | {"starts": starts} | {name: np.zeros(*of) for name, of in _facts(learned).items()}
    shapes = {name: (array.dtype, array.shape) for name, array in small.items()}
    found = new_arrays(vectors_file(path), codes=rows.pop("codes")) | new_arrays(path, **rows, **shapes)
    for name, array in small.items():
        found[name][:] = array
    for lists in _stretches(starts):
        rows_there = slice(int(starts[lists.start]), int(starts[lists.stop]))
        for name, merged in _merged(shards, lists).items():
            found[name][rows_there] = merged
    return _stated(found)


def _facts(learned: Mapping[str, np.ndarray]) -> dict[str, tuple[int, type[np.generic]]]:
    """Length and type of what is known in the end."""
    dimension = learned["centroids"].shape[1]
    return {"num_probes": (1, np.int64), "recall": (1, np.float64), "mean": (dimension, np.float32)}


def _stretches(starts: Int64[np.ndarray, " lists_and_one"]) -> Iterator[slice]:
    """Lists that are written together: some 100,000 texts, or one list."""
    first = 0
    while first < len(starts) - 1:
        after = int(np.searchsorted(starts, starts[first] + _WRITTEN_AT_ONCE, side="right")) - 1
        yield slice(first, after := max(after, first + 1))
        first = after


def _merged(shards: Sequence[Mapping[str, np.ndarray]], lists: slice) -> dict[str, np.ndarray]:
    """The rows of some lists, from all shards."""
    sizes = [np.diff(shard["starts"][lists.start : lists.stop + 1]) for shard in shards]
    order = np.argsort(np.concatenate([np.repeat(np.arange(len(s)), s) for s in sizes]), kind="stable")
    parts = [slice(shard["starts"][lists.start], shard["starts"][lists.stop]) for shard in shards]
    firsts = np.cumsum([0, *(len(shard["texts"]) for shard in shards)])
    found = {
        name: np.concatenate([shard[name][part] for shard, part in zip(shards, parts, strict=True)])[order]
        for name in _ROWS
    }
    lengths = [part.stop - part.start for part in parts]
    found["texts"] += np.repeat(firsts[:-1], lengths)[order].astype(np.int32)
    return found


def _stated(arrays: Mapping[str, np.ndarray]) -> ProductLists:
    """The lists, after what is known in the end was written too."""
    known: dict[str, Any] = {name: arrays[name] for name in (*_LISTS, "codes")}
    lists = ProductLists(**known)
    lists = replace(lists, num_probes=lists.exhaustive.tuned().num_probes).stated()
    arrays["num_probes"][0], arrays["recall"][0] = lists.num_probes, lists.recall
    arrays["mean"][:] = lists.mean() / _SCALE
    return lists


def load_lists(path: Path) -> ProductLists:
    """Map what ``merge_shards`` wrote; the vectors are left on disk until they are read."""
    arrays = mapped_arrays(path)
    known: dict[str, Any] = {name: arrays[name] for name in _LISTS}
    facts = {name: arrays[name][0].item() for name in ("num_probes", "recall")}
    codes = mapped_arrays(vectors_file(path), at_once=False)["codes"]
    return ProductLists(codes=codes, **known, **facts)


def vectors_file(path: Path) -> Path:
    """Where the vectors lie that belong to a file of lists."""
    return path.with_name(f"{path.stem}.full.safetensors")
