"""Lists of one set of centroids and codebooks in several shards, made anywhere and searched as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from safetensors.numpy import save_file

from recsys.code_lists import CodeLists
from recsys.mapped import mapped_arrays
from recsys.product_lists import ProductLists, learned_codebooks, num_reordered
from recsys.runner import Runner, even_parts
from recsys.unfinished import scratch_beside

QUANTISERS = "quantisers.safetensors"


@dataclass(frozen=True, eq=False)
class ListShards:
    """Stretches of the texts, each in lists of its own around the same centroids."""

    shards: Sequence[ProductLists]
    """In the order of their texts, which each of them counts from 0."""

    def nearest(
        self, query: Float32[np.ndarray, " dim"], limit: int
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """What one index of all texts finds, see ``ProductLists.nearest``.

        Every shard reads the same lists and offers what its product codes find; the best of it all is
        ordered by the vectors.
        """
        wanted = num_reordered(limit)
        lists = self._whole.lists_to_read(query, min(wanted, int(self._first_texts[-1])))
        offered = [shard.found_in(lists, query, wanted) for shard in self.shards]
        products = np.concatenate([product for product, _ in offered])
        shard = np.repeat(np.arange(len(self.shards)), [len(texts) for _, texts in offered])
        texts = np.concatenate([texts for _, texts in offered])
        best = np.argsort(-products, kind="stable")[:wanted]
        found = [
            (one.reordered(query, texts[best][shard[best] == number], limit), first)
            for number, (one, first) in enumerate(zip(self.shards, self._first_texts, strict=False))
        ]
        exact = np.concatenate([product for (product, _), _ in found])
        positions = np.concatenate([texts + first for (_, texts), first in found])
        order = np.lexsort((positions, -exact))[:limit]
        return exact[order], positions[order]

    @cached_property
    def _first_texts(self) -> Int64[np.ndarray, " shards_and_one"]:
        return np.cumsum([0, *(len(shard) for shard in self.shards)])

    @cached_property
    def _whole(self) -> CodeLists:
        """The lists' sizes over all shards; it holds no codes."""
        starts: Int64[np.ndarray, " lists_and_one"] = np.sum([shard.starts for shard in self.shards], axis=0)
        first = self.shards[0]
        return CodeLists(first.codes[:0], starts, first.texts[:0], first.centroids, first.num_probes)


def learn_quantisers(sample: CodeLists, directory: Path) -> None:
    """Centroids and codebooks by a sample of the vectors, once for all shards.

    Args:
        sample: One list. There will be ``4 sqrt(n)`` lists, and as many are read as the sample needs.
        directory: Where they are written; on a file system that every shard's node has.
    """
    clustered = sample.clustered()
    arrays = {
        "centroids": clustered.centroids,
        "codebooks": learned_codebooks(clustered),
        "num_probes": np.asarray([clustered.num_probes]),
    }
    save_file(arrays, directory / QUANTISERS)


def build_shards(runner: Runner, vectors: Path, directory: Path, num_shards: int) -> ListShards:
    """Assign and encode the vectors, shard by shard, where the runner says.

    Args:
        runner: Where the shards are made.
        vectors: An ``.npy`` file of int8 vectors in the texts' order, see ``recsys.index.quantise``.
        directory: Has what ``learn_quantisers`` wrote, and gets a file per shard.
        num_shards: How many; at most as many as there are texts.
    """
    parts = even_parts(len(np.load(vectors, mmap_mode="r")), num_shards)
    files = runner.run(partial(_build, vectors, directory), list(enumerate(parts)), "indexing")
    return ListShards([load_lists(file) for file in files])


def _build(vectors: Path, directory: Path, numbered: tuple[int, slice]) -> Path:
    number, part = numbered
    quantisers = mapped_arrays(directory / QUANTISERS)
    lists = CodeLists.exact(np.load(vectors, mmap_mode="r")[part]).in_lists(quantisers["centroids"])
    lists = replace(lists, num_probes=quantisers["num_probes"].item())
    target = directory / f"shard-{number:05}.safetensors"
    save_lists(ProductLists.of(lists, quantisers["codebooks"]), target)
    return target


def save_lists(lists: ProductLists, path: Path, **more: np.ndarray) -> None:
    """Write lists in two files: what a search keeps in memory, and beside it the vectors.

    Args:
        lists: To be written.
        path: A ``.safetensors`` file.
        more: Further arrays that belong to them.
    """
    names = ("starts", "texts", "centroids", "short", "codebooks")
    facts = {"num_probes": np.asarray([lists.num_probes]), "recall": np.asarray([lists.recall])}
    arrays = {name: np.ascontiguousarray(getattr(lists, name)) for name in names}
    for target, content in ((vectors_file(path), {"codes": lists.codes}), (path, arrays | facts | more)):
        with scratch_beside(target) as scratch:  # a shard may be made twice at once, on two machines
            save_file(content, scratch / target.name)
            (scratch / target.name).replace(target)


def load_lists(path: Path) -> ProductLists:
    """Map what ``save_lists`` wrote; the vectors are left on disk until they are read."""
    arrays = mapped_arrays(path)
    known: dict[str, Any] = {
        name: arrays[name] for name in ("starts", "texts", "centroids", "short", "codebooks")
    }
    facts = {name: arrays[name][0].item() for name in ("num_probes", "recall")}
    return ProductLists(codes=mapped_arrays(vectors_file(path), at_once=False)["codes"], **known, **facts)


def vectors_file(path: Path) -> Path:
    """Where the vectors lie that belong to a file of lists."""
    return path.with_name(f"{path.stem}.full.safetensors")
