"""What a search through vectors costs and finds, by kind of index: ``python -m tests.benchmarks.index_table``.

The vectors are those of a trained workspace, repeated with noise (of a length of ``--noise``, against the
vectors' 1) to ``--size``. Queries are means of 1, 2, 4, 8 and 16 of them, as a shop's are. One thread.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float32, Int8

from recsys.code_lists import CodeLists
from recsys.index import dequantise, quantise
from recsys.mapped import mapped_arrays
from recsys.product_lists import ProductLists, learned_codebooks

_TEXTS_PER_QUERY = (1, 2, 4, 8, 16)
_TEXT_BYTES = 4 + 4
"""The text of each row, and the row of each text."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    item_bytes: int
    build_seconds: float
    milliseconds: float
    recall: dict[int, float]

    def __str__(self) -> str:
        recalls = " | ".join(f"{share:.3f}" for share in self.recall.values())
        return f"| {self.name} | {self.item_bytes} | {self.build_seconds:.0f} | {self.milliseconds:.2f} | {recalls} |"


def grown(path: Path, size: int, noise: float) -> Int8[np.ndarray, "texts dim"]:
    """As many vectors as wanted, of a bundle's file and near them."""
    arrays = mapped_arrays(path)
    own = dequantise((arrays["codes"] ^ np.uint8(0x80)).view(np.int8))
    random, dimension = np.random.default_rng(0), own.shape[1]
    found = np.empty((size, dimension), np.int8)
    for start in range(0, size, len(own)):
        some = own[: size - start]
        if start:
            some = some + noise / np.sqrt(dimension) * random.standard_normal(some.shape, np.float32)
        found[start : start + len(some)] = quantise(some / np.linalg.norm(some, axis=1, keepdims=True))
    return found


def measured(
    name: str,
    lists: CodeLists,
    item_bytes: int,
    seconds: float,
    queries: Float32[np.ndarray, "queries dim"],
    truth: list[tuple[np.ndarray, np.ndarray]],
) -> Row:
    """A line: what is found of the 10, 100 and 500 nearest, where as near is as good."""
    shares: dict[int, list[float]] = {10: [], 100: [], 500: []}
    taken = []
    for query, (nearest, _) in zip(queries, truth, strict=True):
        for limit, found in shares.items():
            started = time.perf_counter()
            products, _ = lists.nearest(query, limit)
            if limit == 100:
                taken.append(time.perf_counter() - started)
            found.append(float((products >= nearest[limit - 1]).sum() / limit))
    recall = {limit: float(np.mean(found)) for limit, found in shares.items()}
    return Row(name, item_bytes, seconds, float(np.median(taken)) * 1e3, recall)


def timed[T](work: Callable[[], T]) -> tuple[T, float]:
    """A result, and the seconds that it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def print_table(vectors: Int8[np.ndarray, "texts dim"], num_queries: int) -> None:
    """The lines, as they are measured."""
    exact, random = CodeLists.exact(vectors), np.random.default_rng(5)
    sizes = [_TEXTS_PER_QUERY[number % len(_TEXTS_PER_QUERY)] for number in range(num_queries)]
    queries = np.stack([exact.mean_of(random.choice(len(exact), size)) for size in sizes])
    truth = [exact.nearest(query, 500) for query in queries]
    dimension = vectors.shape[1]
    print(f"\n{len(vectors):,} vectors of {dimension} numbers: {4 * dimension} bytes as float32\n")
    print("| index | bytes in memory | build s | ms | recall@10 | @100 | @500 |\n|" + "---|" * 7, flush=True)
    print(measured("exact, int8", exact, dimension, 0.0, queries, truth), flush=True)
    lists, clustering = timed(exact.clustered)
    codebooks, learning = timed(lambda: learned_codebooks(lists))
    short, encoding = timed(lambda: ProductLists.of(lists, codebooks))
    for probes in sorted(
        {*(max(lists.num_probes // part, 1) for part in (8, 4, 2, 1)), 2 * lists.num_probes}
    ):
        read = f"{probes} of {len(lists.centroids)} lists"
        own = dimension + _TEXT_BYTES, clustering, queries, truth
        print(measured(f"int8, {read}", replace(lists, num_probes=probes), *own), flush=True)
        own = len(codebooks) + _TEXT_BYTES, clustering + learning + encoding, queries, truth
        print(measured(f"product codes, {read}", replace(short, num_probes=probes), *own), flush=True)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path, help="items/vectors.safetensors of a bundle")
    parser.add_argument("--size", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--queries", type=int, default=100)
    words = parser.parse_args()
    faiss.omp_set_num_threads(1)
    for size in words.size:
        print_table(grown(words.vectors, size, words.noise), words.queries)


if __name__ == "__main__":
    main()
