"""Where units stand: a hash of a seed and a unit's id, evenly spread from 0 to below 1.

Two hashes. ``sha256`` is ours: the first 53 bits of SHA-256 over ``SEED:UNIT`` in UTF-8. ``growthbook_v2`` is
GrowthBook's hash version 2, FNV-1a twice with 10,000 places; its layers stand where GrowthBook's namespaces
do, by hash version 1 with 1,000 places. A seed holds no colon, so that two pairs never make one text, and
a layer's seed is none that an arm's can be: an arm never follows from the place in the layer.

Source: GrowthBook, "Build Your Own SDK", sections "hash" and "inNamespace". Its reference implementation
hashes UTF-16 code units, and so does this one.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, UInt32

from recsys.experiments.definition import Experiment, HashName

Places: TypeAlias = Float64[np.ndarray, " units"]
"""Numbers from 0 to below 1."""

NUM_BUCKETS = 10_000
"""Places are shown as one of so many buckets."""

_FNV_OFFSET, _FNV_PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_SHA_WORDS = 4  # of 8 bytes
_MAX_DIGITS = 10  # of a 32-bit number
_AT_ONCE = 65_536


def arm_places(experiment: Experiment, units: Sequence[str]) -> Places:
    """Where units stand among an experiment's arms."""
    return _in_parts(_ARM_HASHES[experiment.hash], experiment.salt, units)


def layer_places(experiment: Experiment, units: Sequence[str]) -> Places:
    """Where units stand in an experiment's layer."""
    return _in_parts(_LAYER_HASHES[experiment.hash], experiment.layer, units)


def buckets(places: Places) -> UInt32[np.ndarray, " units"]:
    """Bucket of each place, from 0 to 9,999."""
    numbers: UInt32[np.ndarray, " units"] = np.floor(places * NUM_BUCKETS + 1e-9).astype(np.uint32)
    return numbers


def sha256_places(seed: str, units: Sequence[str]) -> Places:
    """First 53 bits of SHA-256 over ``SEED:UNIT``.

    >>> sha256_places("a", ["u1"]).round(6).tolist()
    [0.19587]
    """
    start, sha = f"{seed}:".encode(), hashlib.sha256
    digests = b"".join([sha(start + unit.encode()).digest() for unit in units])
    words = np.frombuffer(digests, ">u8")[::_SHA_WORDS]
    places: Places = (words >> np.uint64(11)) * 2.0**-53
    return places


def growthbook_v2_places(seed: str, units: Sequence[str]) -> Places:
    """GrowthBook's hash version 2: ``fnv1a32(decimal(fnv1a32(SEED + UNIT))) mod 10000 / 10000``.

    >>> growthbook_v2_places("feature", ["123"]).tolist()
    [0.5231]
    """
    inner = _fnv1a(units, np.full(len(units), _fnv_of(seed), np.uint32))
    outer, started = np.full(len(units), _FNV_OFFSET, np.uint32), np.zeros(len(units), np.bool_)
    for power in range(_MAX_DIGITS - 1, -1, -1):
        digits = inner // np.uint32(10**power) % np.uint32(10)
        started |= (digits > 0) | (power == 0)
        outer = np.where(started, (outer ^ (digits + np.uint32(ord("0")))) * np.uint32(_FNV_PRIME), outer)
    places: Places = (outer % np.uint32(10_000)) / 10_000
    return places


def growthbook_v1_places(seed: str, units: Sequence[str]) -> Places:
    """GrowthBook's hash version 1, which its namespaces use: ``fnv1a32(UNIT + SEED) mod 1000 / 1000``."""
    hashes = _fnv1a(units, np.full(len(units), _FNV_OFFSET, np.uint32))
    for character in _code_units(seed):
        hashes = (hashes ^ character) * np.uint32(_FNV_PRIME)
    places: Places = (hashes % np.uint32(1000)) / 1000
    return places


def arm_placer(experiment: Experiment) -> Callable[[str], float]:
    """The same as ``arm_places``, for one unit after the other, a microsecond or two each."""
    if experiment.hash == "sha256":
        return _sha256_placer(experiment.salt)
    salt = experiment.salt
    return lambda unit: _fnv_of(str(_fnv_of(salt + unit))) % 10_000 / 10_000


def layer_placer(experiment: Experiment) -> Callable[[str], float]:
    """The same as ``layer_places``, for one unit after the other."""
    if experiment.hash == "sha256":
        return _sha256_placer(f"layer:{experiment.layer}")
    layer = f"__{experiment.layer}"
    return lambda unit: _fnv_of(unit + layer) % 1000 / 1000


def _sha256_placer(seed: str) -> Callable[[str], float]:
    start, sha, number = f"{seed}:".encode(), hashlib.sha256, int.from_bytes
    return lambda unit: (number(sha(start + unit.encode()).digest()[:8]) >> 11) * 2.0**-53


def _in_parts(hashed: Callable[[str, Sequence[str]], Places], seed: str, units: Sequence[str]) -> Places:
    if len(units) <= _AT_ONCE:
        return hashed(seed, units)
    parts = [hashed(seed, units[at : at + _AT_ONCE]) for at in range(0, len(units), _AT_ONCE)]
    return np.concatenate(parts)


def _layer_sha256(layer: str, units: Sequence[str]) -> Places:
    return sha256_places(f"layer:{layer}", units)


def _layer_growthbook(layer: str, units: Sequence[str]) -> Places:
    return growthbook_v1_places(f"__{layer}", units)


_ARM_HASHES: dict[HashName, Callable[[str, Sequence[str]], Places]] = {
    "sha256": sha256_places,
    "growthbook_v2": growthbook_v2_places,
}
_LAYER_HASHES: dict[HashName, Callable[[str, Sequence[str]], Places]] = {
    "sha256": _layer_sha256,
    "growthbook_v2": _layer_growthbook,
}


def _code_units(text: str) -> UInt32[np.ndarray, " characters"]:
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").astype(np.uint32)


def _fnv_of(text: str) -> int:
    state = _FNV_OFFSET
    for character in _code_units(text).tolist():
        state = (state ^ character) * _FNV_PRIME & _MASK
    return state


def _fnv1a(texts: Sequence[str], states: UInt32[np.ndarray, " texts"]) -> UInt32[np.ndarray, " texts"]:
    """FNV-1a, 32 bits, over every text at once: character after character."""
    characters = _code_units("".join(texts))
    encoded = (
        [len(text) for text in texts]
        if len(characters) == sum(map(len, texts))
        else [len(_code_units(text)) for text in texts]
    )
    lengths = np.asarray(encoded, np.int64)
    starts = np.cumsum(lengths) - lengths
    states = states.copy()
    for at in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > at)
        states[longer] = (states[longer] ^ characters[starts[longer] + at]) * np.uint32(_FNV_PRIME)
    return states
