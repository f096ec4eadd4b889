"""What a loaded pipeline holds in memory, part by part, and what of it lies in files that processes share."""

import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType, ModuleType

import numpy as np
import polars as pl
from scipy import sparse
from torch import nn

from recsys.pipeline import Pipeline

_OURS = ("recsys.", "features.")
_COUNTED = (str, int, list, dict, set)
_NOT_HELD = (type, FunctionType, ModuleType, nn.Module)


@dataclass
class Footprint:
    """Bytes."""

    shared: int = 0
    """Arrays that lie in a mapped file: in memory once, however many processes read it."""
    private: int = 0
    """What every process has for itself."""


@dataclass
class Inventory:
    """Adds up what objects hold; what several of them hold counts where it is first met.

    Only what grows with the catalogue is looked for: arrays, frames, and containers of texts and numbers.
    The forest and the encoder are not.
    """

    parts: dict[str, Footprint] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _kept: list[object] = field(default_factory=list)

    def add(self, part: str, thing: object) -> None:
        """Count what an object holds as some part's."""
        footprint = self.parts.setdefault(part, Footprint())
        waiting = [thing]
        while waiting:
            one = waiting.pop()
            if id(one) in self._seen:
                continue
            self._seen.add(id(one))
            self._kept.append(one)  # so that no other object gets its id
            if isinstance(one, np.ndarray):
                self._add_array(footprint, one)
            elif isinstance(one, pl.DataFrame | pl.Series):
                footprint.private += int(one.estimated_size())
            elif isinstance(one, sparse.csr_array):
                waiting += [one.data, one.indices, one.indptr]
            else:
                footprint.private += sys.getsizeof(one) if isinstance(one, _COUNTED) else 0
                waiting += _held(one)

    def _add_array(self, footprint: Footprint, array: np.ndarray) -> None:
        owner: object = array
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        if isinstance(owner, np.ndarray):
            if owner is array or id(owner) not in self._seen:
                self._seen.add(id(owner))
                footprint.private += owner.nbytes
        elif isinstance(owner, mmap.mmap):
            footprint.shared += array.nbytes
        else:
            footprint.private += array.nbytes


def _held(thing: object) -> Iterator[object]:
    if isinstance(thing, dict):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, list | tuple | set):
        yield from thing
    elif type(thing).__module__.startswith(_OURS) and not isinstance(thing, _NOT_HELD):
        yield from vars(thing).values() if hasattr(thing, "__dict__") else ()


def footprints(pipeline: Pipeline) -> dict[str, Footprint]:
    """What a pipeline that has answered holds, by part; what requests made of the others comes last."""
    found, parts = Inventory(), pipeline.bundle.parts
    found.add("catalogue", parts.catalogue)
    found.add("item vectors", [parts.index, parts.words])
    found.add("item tables", parts.tables)
    found.add("popularity and orders", pipeline)
    return found.parts
