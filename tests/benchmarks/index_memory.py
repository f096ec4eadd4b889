"""What memory an index takes while it is built and searched: ``python -m tests.benchmarks.index_memory DIR``.

The vectors are drawn around ``--centres`` points, so that lists mean something. Anonymous memory is what a
process has for itself; what lies in files is shared, and the system takes it back when it is short.
"""

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from recsys.catalogue import Catalogue
from recsys.code_lists import CodeLists
from recsys.index import VectorIndex, quantise
from recsys.list_shards import load_lists
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame

_AT_ONCE = 50_000
_MIB = 1 << 20
_SEARCHES = 300
_NOISE = np.float32(0.3)


def memory(kind: str) -> int:
    """Bytes of this process: ``RssAnon`` or ``RssFile``."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def drawn(path: Path, size: int, width: int, centres: int) -> None:
    """Write so many unit vectors as int8."""
    random = np.random.default_rng(0)
    middle = random.standard_normal((centres, width), np.float32)
    found = np.lib.format.open_memmap(path, "w+", np.int8, (size, width))
    for start in range(0, size, _AT_ONCE):
        num = min(_AT_ONCE, size - start)
        apart = random.standard_normal((num, width), np.float32)
        some = middle[random.integers(centres, size=num)] + _NOISE * apart
        found[start : start + num] = quantise(some / np.linalg.norm(some, axis=1, keepdims=True))
    found.flush()


def peak(work: Callable[[], None]) -> tuple[int, float]:
    """Most anonymous memory during some work, beyond what there was before, and its seconds."""
    before, highest, done = memory("RssAnon"), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            highest[0] = max(highest[0], memory("RssAnon"))

    watching, started = threading.Thread(target=watch), time.monotonic()
    watching.start()
    work()
    done.set()
    watching.join()
    return highest[0] - before, time.monotonic() - started


def build(directory: Path) -> None:
    """Write the index of the drawn vectors and say what it took."""
    faiss.omp_set_num_threads(1)
    vectors = np.load(directory / "vectors.npy", mmap_mode="r")
    catalogue = Catalogue(items_frame({ITEM_ID: "one", TITLE: "one"}))
    index = VectorIndex(vectors, catalogue)
    held = memory("RssAnon") / _MIB
    taken, seconds = peak(lambda: said(str(index.save(directory / "index.safetensors", 0))))
    said(f"build: {taken / _MIB:.0f} MiB beyond {held:.0f} of the process with the vectors, {seconds:.0f} s")


def search(directory: Path) -> None:
    """Open it, search, and say what the process has."""
    faiss.omp_set_num_threads(1)
    before = memory("RssAnon"), memory("RssFile")
    lists = load_lists(directory / "index.safetensors")
    exact = CodeLists.exact(np.load(directory / "vectors.npy", mmap_mode="r")[:1000])
    random, taken = np.random.default_rng(1), []
    for _ in range(_SEARCHES):
        query = exact.mean_of(random.choice(1000, 1))
        started = time.perf_counter()
        lists.nearest(query, 100)
        taken.append(time.perf_counter() - started)
    own, files = memory("RssAnon") - before[0], memory("RssFile") - before[1]
    sizes = sum(file.stat().st_size for file in directory.glob("index*.safetensors"))
    said(f"search: {own / _MIB:.0f} MiB anonymous, {files / _MIB:.0f} of {sizes / _MIB:.0f} MiB in files, ")
    said(f"{1e3 * float(np.median(taken)):.2f} ms at the median")


def said(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line; each step is a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where vectors and index are written")
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--centres", type=int, default=20_000)
    words = parser.parse_args()
    words.directory.mkdir(parents=True, exist_ok=True)
    drawn(words.directory / "vectors.npy", words.size, words.width, words.centres)
    context = multiprocessing.get_context("spawn")
    for step in (build, search):
        process = context.Process(target=step, args=(words.directory,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
