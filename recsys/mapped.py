"""Arrays of a safetensors file where they lie: processes that read the same file share its memory.

A file of arrays that are too large for memory is written the same way.
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np

_DTYPES: Final = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I32": "<i4",
    "I64": "<i8",
    "F32": "<f4",
    "F64": "<f8",
}
_LENGTH_BYTES = 8
_AT_ONCE = getattr(mmap, "MAP_POPULATE", 0)
"""Where the system can, it maps all pages now: no request then waits for one that is in memory anyway."""


def mapped_arrays(path: Path, *, at_once: bool = True) -> dict[str, np.ndarray]:
    """The arrays of a file by name, read-only.

    The file must not change as long as an array lives; it may be unlinked.

    Args:
        path: The file.
        at_once: Whether it is wanted in memory; otherwise only pages that are read come there.

    Raises:
        ValueError: The file is not in this format, or holds numbers of a type that nothing here writes.

    Source: https://huggingface.co/docs/safetensors, "Format".
    """
    with path.open("rb") as file:
        flags = mmap.MAP_SHARED | (_AT_ONCE if at_once else 0)
        content = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
    if not at_once and hasattr(mmap, "MADV_RANDOM"):
        content.madvise(mmap.MADV_RANDOM)
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:start])
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} has no header")
    header.pop("__metadata__", None)
    return {name: _array(content, start, name, entry) for name, entry in header.items()}


def new_arrays(path: Path, **arrays: tuple[np.dtype, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Make a file of arrays of zeros and map them to be written to: they need not fit into memory.

    The file is whole when every array was dropped or flushed; until then others must not read it.

    Args:
        path: The file.
        arrays: Type and shape by name.
    """
    header: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape) in sorted(arrays.items(), key=lambda one: -one[1][0].itemsize):
        size = dtype.itemsize * math.prod(shape)
        code = next(code for code, known in _DTYPES.items() if np.dtype(known) == dtype)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % _LENGTH_BYTES)
    with path.open("wb+") as file:
        file.write(len(described).to_bytes(_LENGTH_BYTES, "little") + described)
        file.truncate(start := file.tell() + at)
        content = mmap.mmap(file.fileno(), start)
    return {name: _array(content, start - at, name, entry) for name, entry in header.items()}


def _array(content: mmap.mmap, start: int, name: str, entry: dict[str, Any]) -> np.ndarray:
    dtype, shape, first = entry["dtype"], entry["shape"], entry["data_offsets"][0]
    if dtype not in _DTYPES:
        raise ValueError(f"array {name!r} holds {dtype}, expected one of {', '.join(_DTYPES)}")
    return np.ndarray(tuple(shape), _DTYPES[dtype], content, start + first)
