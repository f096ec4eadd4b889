"""What a search through vectors costs and finds: ``python -m tests.benchmarks.index_table FILE``.

The vectors are those of a trained workspace, repeated with noise (of a length of ``--noise``, against the
vectors' 1) to ``--size``. Queries are means of 1, 2, 4, 8 and 16 of them, as a shop's are. One thread.
"""

import argparse
import sys
import time
from collections.abc import Iterator
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
        numbers = f"{self.item_bytes} | {self.build_seconds:.0f} | {self.milliseconds:.2f}"
        return f"| {self.name} | {numbers} | {recalls} |"


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


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries and what is nearest to them."""

    queries: Float32[np.ndarray, "queries dim"]
    products: Float32[np.ndarray, "queries 500"]
    """The largest there are."""

    @classmethod
    def of(cls, exact: CodeLists, num_queries: int) -> "Asked":
        """Means of texts drawn at random."""
        random = np.random.default_rng(5)
        sizes = [_TEXTS_PER_QUERY[number % len(_TEXTS_PER_QUERY)] for number in range(num_queries)]
        queries = np.stack([exact.mean_of(random.choice(len(exact), size)) for size in sizes])
        return cls(queries, np.stack([exact.nearest(query, 500)[0] for query in queries]))

    def row(self, name: str, lists: CodeLists, item_bytes: int, build_seconds: float) -> Row:
        """A line: what is found of the nearest, where as near is as good."""
        shares: dict[int, list[float]] = {10: [], 100: [], 500: []}
        taken = []
        for query, nearest in zip(self.queries, self.products, strict=True):
            for limit, found in shares.items():
                started = time.perf_counter()
                products, _ = lists.nearest(query, limit)
                if limit == 100:
                    taken.append(time.perf_counter() - started)
                found.append(float((products >= nearest[limit - 1]).sum() / limit))
        recall = {limit: float(np.mean(found)) for limit, found in shares.items()}
        return Row(name, item_bytes, build_seconds, float(np.median(taken)) * 1e3, recall)


def table(vectors: Int8[np.ndarray, "texts dim"], num_queries: int) -> Iterator[str]:
    """The lines, as they are measured."""
    exact, dimension = CodeLists.exact(vectors), vectors.shape[1]
    asked = Asked.of(exact, num_queries)
    yield f"\n{len(vectors):,} vectors of {dimension} numbers: {4 * dimension} bytes as float32\n"
    yield "| index | bytes in memory | build s | ms for 100 | recall@10 | @100 | @500 |\n|" + "---|" * 7
    yield str(asked.row("exact, int8", exact, dimension, 0.0))
    started = time.perf_counter()
    lists = exact.clustered()
    clustered = time.perf_counter() - started
    short = ProductLists.of(lists, learned_codebooks(lists))
    encoded = time.perf_counter() - started
    size = short.short.shape[1] + _TEXT_BYTES
    for probes in sorted({max(int(lists.num_probes * part), 1) for part in (1 / 8, 1 / 4, 1 / 2, 1)}):
        read = f"{probes} of {len(lists.centroids)} lists"
        kept = replace(lists, num_probes=probes)
        yield str(asked.row(f"int8, {read}", kept, dimension + _TEXT_BYTES, clustered))
        yield str(asked.row(f"product codes, {read}", replace(short, num_probes=probes), size, encoded))


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
        for line in table(grown(words.vectors, size, words.noise), words.queries):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
