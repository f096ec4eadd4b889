"""Ways to damage a bundle: by the byte, and by what a format means."""

import gzip
import json
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from recsys.manifest import MANIFEST, describe_files

_TREE_FIELDS = (
    "num_leaves",
    "num_cat",
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "leaf_weight",
    "leaf_count",
    "internal_value",
    "internal_weight",
    "internal_count",
    "shrinkage",
)
_HEADER_FIELDS = (
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "feature_names",
    "feature_infos",
    "tree_sizes",
)
_WORDS = ("nan", "inf", "1e999", "99999999", "-1", "", "0x10", "1,5")


class Executed:
    """A pickle that leaves a trace when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return Path.touch, (self.trace,)


def refresh_manifest(directory: Path) -> None:
    """Make the manifest say what the files are: an attacker would, or a bug that wrote both."""
    path = directory / MANIFEST
    described = json.loads(path.read_bytes())
    described["files"] = {name: entry.model_dump() for name, entry in describe_files(directory).items()}
    path.unlink()
    path.write_text(json.dumps(described))


def rebuilt(text: str) -> bytes:
    """A model's text with ``tree_sizes`` as its trees are now, so that the damage lies deeper."""
    first, end = text.find("Tree=0"), text.find("end of trees")
    if first < 0 or end < 0 or "tree_sizes=" not in text:
        return text.encode()
    trees = text[first:end]
    starts = [at for at in range(len(trees)) if trees.startswith("Tree=", at)]
    sizes = [after - at for at, after in zip(starts, [*starts[1:], len(trees)], strict=True)]
    at = text.index("tree_sizes=")
    line = f"tree_sizes={' '.join(map(str, sizes))}"
    return (text[:at] + line + text[text.index("\n", at) :]).encode()


def ranker_kinds(text: str) -> dict[str, bytes]:
    """Every kind of damage to a LightGBM model, by name; well over a hundred."""
    return {name: changed for name, changed in _ranker_kinds(text) if changed != text.encode()}


def _ranker_kinds(text: str) -> Iterator[tuple[str, bytes]]:
    for percent in (0, 1, 5, 20, 35, 50, 65, 80, 90, 95, 97, 99):
        yield f"cut after {percent} %", text[: len(text) * percent // 100].encode()
    lines = text.split("\n")
    for field in (*_HEADER_FIELDS, *_TREE_FIELDS):
        at = next((i for i, line in enumerate(lines) if line.startswith(f"{field}=")), None)
        if at is None:
            continue
        first, *rest = lines[at].partition("=")[2].split(" ")
        for name, replacing in (
            ("without", []),
            ("twice", [lines[at], lines[at]]),
            ("one number less", [f"{field}={' '.join(rest)}"]),
            ("one number more", [f"{lines[at]} {first}"]),
            *((f"first is {word!r}", [f"{field}={' '.join([word, *rest])}"]) for word in _WORDS),
        ):
            changed = "\n".join([*lines[:at], *replacing, *lines[at + 1 :]])
            yield f"{field}: {name}", rebuilt(changed) if field != "tree_sizes" else changed.encode()
    for name, (before, after) in {
        "first child is the root": ("\nleft_child=", "\nleft_child=0 "),
        "a tree is missing": ("Tree=1\n", "Tree=7\n"),
        "categorical": ("num_cat=0", "num_cat=1\ncat_boundaries=0 9\ncat_threshold=1"),
        "linear": ("is_linear=0", "is_linear=1"),
        "carriage returns": ("\n", "\r\n"),
        "no end": ("end of trees", "end of bees"),
        "a byte order mark": ("tree\nversion", "\ufefftree\nversion"),
        "an early end": ("Tree=2", "end of trees\nTree=2"),
    }.items():
        yield name, rebuilt(text.replace(before, after))
    raw = text.encode()
    yield "zeros", bytes(len(raw))
    yield "noise", random.Random(1).randbytes(len(raw))
    yield "gzip", gzip.compress(raw)
    yield "twice", raw + raw
    yield "a NUL within", raw[:300] + b"\0" + raw[301:]


def ranker_features(text: str) -> Iterator[tuple[str, bytes]]:
    """A whole model over other features, or the same in another order."""
    line = next(one for one in text.split("\n") if one.startswith("feature_names="))
    names = line.partition("=")[2].split(" ")
    for kind, other in (
        ("order", [names[1], names[0], *names[2:]]),
        ("reversed", names[::-1]),
        ("another name", ["unknown", *names[1:]]),
    ):
        yield kind, rebuilt(text.replace(line, f"feature_names={' '.join(other)}"))
    infos = next(one for one in text.split("\n") if one.startswith("feature_infos="))
    more = text.replace(line, f"{line} one_more").replace(infos, f"{infos} none")
    yield (
        "one more",
        rebuilt(more.replace(f"max_feature_idx={len(names) - 1}\n", f"max_feature_idx={len(names)}\n")),
    )


def damaged_bytes(rng: random.Random, raw: bytes) -> bytes:
    """One accident to some bytes."""
    at, until = sorted(rng.choices(range(len(raw) + 1), k=2))
    bit = bytes([raw[min(at, len(raw) - 1)] ^ (1 << rng.randrange(8))]) if raw else b"x"
    return rng.choice(
        (
            raw[:at] + bit + raw[at + 1 :],
            raw[:at],
            raw[:at] + raw[until:],
            raw[:until] + raw[at:],
            raw[:at] + rng.randbytes(8) + raw[at + 8 :],
            raw[:at] + bytes(min(until - at, 64)) + raw[at + min(until - at, 64) :],
            raw[:at] + b"\xff" * 8 + raw[at + 8 :],
            b"",
        )
    )


def damaged_arrays(rng: random.Random, raw: bytes) -> bytes:
    """One accident to a safetensors file that its format knows about, or that only its numbers show."""
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    name = rng.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    last = entry["data_offsets"][1]
    kind = rng.randrange(9)
    if kind == 0:
        entry["shape"] = [rng.choice((-1, 0, 1, 7, 2**31, 2**62)), *entry["shape"][1:]]
    elif kind == 1:
        entry["dtype"] = rng.choice(("F16", "F64", "I8", "I64", "U8", "F32", "BOOL", "nonsense"))
    elif kind == 2:
        entry["data_offsets"] = [rng.choice((-8, 0, last, 2**40)), last]
    elif kind == 3:
        header["more"] = header.pop(name)
    elif kind == 4:
        entry["shape"] = entry["shape"][::-1] if len(entry["shape"]) > 1 else [1, *entry["shape"]]
    elif kind == 5:
        return struct.pack("<Q", rng.choice((0, 2**40, 2**63, size + 1))) + raw[8:]
    else:
        return _other_numbers(rng, raw, name)
    changed = json.dumps(header).encode()
    return struct.pack("<Q", len(changed)) + changed + raw[8 + size :]


def _other_numbers(rng: random.Random, raw: bytes, name: str) -> bytes:
    """The same arrays with numbers in one of them that cannot be, at a random place or everywhere."""
    arrays = {key: np.array(array) for key, array in load(raw).items()}
    array = arrays[name].reshape(-1)
    if array.size:
        where = slice(None) if rng.random() < 0.2 else rng.randrange(array.size)
        if np.issubdtype(array.dtype, np.floating):
            array[where] = rng.choice((np.nan, np.inf, -np.inf))
        elif array.dtype != np.bool_:
            array[where] = rng.choice((np.iinfo(array.dtype).max, np.iinfo(array.dtype).min))
    return save(arrays)


def damaged_json(rng: random.Random, raw: bytes) -> bytes:
    """One accident to a document that stays JSON: a value of another kind, or none, somewhere in it."""
    document = json.loads(raw)
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        break
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = rng.choice(
            (None, -1, 0, 2**63, 1e308, float("nan"), "", "../../x", [], {}, True, "x" * 999)
        )
    return json.dumps(document).encode()


def damage(rng: random.Random, directory: Path, files: list[str]) -> str:
    """Damage one file of a bundle; which."""
    name = rng.choice(files)
    path = directory / name
    raw = path.read_bytes()
    by_meaning = {".safetensors": damaged_arrays, ".json": damaged_json}.get(path.suffix)
    changed = raw
    while changed == raw:
        how = by_meaning if by_meaning is not None and rng.random() < 0.6 else damaged_bytes
        changed = how(rng, raw)
    path.unlink()
    path.write_bytes(changed)
    return name


def pickled(trace: Path) -> bytes:
    """A pickle that creates a file when it is read."""
    return pickle.dumps(Executed(trace))
