"""LightGBM's text format, checked before LightGBM reads it.

LightGBM trusts its model files: a cut or altered one may end the process, read foreign memory or never come
back. This check walks the text in plain Python and accepts only what is whole: every number a number, every
array as long as it must be, every tree a tree. What is wrong but plausible, only a hash can tell.
"""

import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Final

from recsys.errors import BundleError

_LARGEST = 256 << 20
_MOST_LEAVES = 4096
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_NUMBERS = re.compile(rf"(?:{_NUMBER}(?: {_NUMBER})*)?")
_THRESHOLDS = re.compile(rf"(?:(?:{_NUMBER}|inf)(?: (?:{_NUMBER}|inf))*)?")
"""A split on whether a value is there at all sends every number to the left: its threshold is infinite."""
_INTEGERS = re.compile(r"(?:-?\d{1,9}(?: -?\d{1,9})*)?")
_SIZES = re.compile(r"\d{1,9}(?: \d{1,9})*")
_RANGE = re.compile(rf"none|\[{_NUMBER}:{_NUMBER}\]")
_NAME = re.compile(r"[!#-\[\]-~]+")
"""No quote or backslash: LightGBM's own description of the model would be no JSON."""
_OBJECTIVE = re.compile(r"[a-z_0-9]+(?: [a-z_]+:[-+.\w]+)*(?: [a-z_]+)*")
_TAIL = re.compile(
    r"end of trees\n+feature_importances:\n(?:[^\n=]+=\d+\n)*"
    r"\nparameters:\n((?:\[\w+: [^\n]*\]\n)*)\nend of parameters\n\n*(?:pandas_categorical:[^\n]*\n*)?"
)
_DECISIONS = {0, 2, 4, 6, 8, 10}
"""Numeric splits: bit 1 says where missing values go, bits 2 and 3 what counts as missing."""
_PER_SPLIT = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_PER_SPLIT_REAL = ("split_gain", "internal_value", "internal_weight")
_TREE = {"num_leaves", "num_cat", "leaf_value", "leaf_weight", "leaf_count", "is_linear", "shrinkage"}
_FIELDS = {*_TREE, *_PER_SPLIT, *_PER_SPLIT_REAL, "threshold"}


@dataclass(frozen=True)
class ModelText:
    """A model that is whole."""

    text: str
    feature_names: tuple[str, ...]
    num_trees: int

    @property
    def is_unnamed(self) -> bool:
        """Whether LightGBM made the feature names up, because it was trained on a bare matrix."""
        return self.feature_names == tuple(f"Column_{i}" for i in range(len(self.feature_names)))

    def named(self, feature_names: tuple[str, ...]) -> "ModelText":
        """The same model with other names for its columns."""
        before, after = (
            f"\nfeature_names={' '.join(names)}\n" for names in (self.feature_names, feature_names)
        )
        return ModelText(self.text.replace(before, after, 1), feature_names, self.num_trees)


def read_model_text(raw: bytes) -> ModelText:
    """Check a model file's content.

    Only what a ranker over numeric features needs is accepted: one score per row, no categorical splits, no
    linear leaves.

    Raises:
        BundleError: It is no LightGBM model, or not a whole one.
    """
    if len(raw) > _LARGEST:
        raise BundleError(f"the model file has {len(raw):,} bytes, at most {_LARGEST:,} are read")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise BundleError("the file is not a LightGBM model in text format") from error
    if not text.startswith("tree\nversion=v"):
        raise BundleError("the file is not a LightGBM model in text format: it starts otherwise")
    head, separator, rest = text.partition("\n\nTree=")
    _require(bool(separator), "it holds no tree")
    header = _header(head)
    names = tuple(header["feature_names"].split(" "))
    sizes = [int(size) for size in header["tree_sizes"].split(" ")]
    body = "Tree=" + rest
    _require(body[sum(sizes) :].startswith("end of trees\n"), "it is cut short, or its trees were changed")
    _check_tail(body[sum(sizes) :])
    start = 0
    for number, size in enumerate(sizes):
        _check_tree(number, body[start : start + size], len(names))
        start += size
    return ModelText(text, names, len(sizes))


def _header(head: str) -> dict[str, str]:
    lines = head.split("\n")[1:]
    fields = dict(line.partition("=")[::2] for line in lines)
    _require(len(fields) == len(lines), "its header repeats a field")
    expected = {"version", "num_class", "num_tree_per_iteration", "max_feature_idx", "feature_names"}
    missing = sorted((expected | {"feature_infos", "tree_sizes"}) - set(fields))
    _require(not missing, f"its header lacks {', '.join(missing)}")
    _require(fields["version"] in {"v3", "v4"}, "its version is neither v3 nor v4")
    single = fields["num_class"] == fields["num_tree_per_iteration"] == "1"
    _require(single, "it gives more than one score per row")
    names = fields["feature_names"].split(" ")
    distinct = all(map(_NAME.fullmatch, names)) and len(set(names)) == len(names)
    _require(distinct, "its feature names are not distinct words")
    _require(fields["max_feature_idx"] == str(len(names) - 1), "its number of features is not its names'")
    ranges = fields["feature_infos"].split(" ")
    numeric = len(ranges) == len(names) and all(map(_is_range, ranges))
    _require(numeric, "its features' ranges are damaged or categorical; every feature is a number here")
    objective = fields.get("objective", "none")
    _require(_OBJECTIVE.fullmatch(objective) is not None, "its objective is damaged")
    directions = fields.get("monotone_constraints")
    if directions is not None:
        _array(directions, len(names), _INTEGERS, "monotone_constraints")
    _require(_SIZES.fullmatch(fields["tree_sizes"]) is not None, "its tree sizes are damaged")
    return fields


def _is_range(text: str) -> bool:
    """LightGBM's own description of a model with an infinite range is no JSON."""
    ends = text.strip("[]").split(":") if text != "none" else []
    return _RANGE.fullmatch(text) is not None and all(math.isfinite(float(end)) for end in ends)


def _check_tail(text: str) -> None:
    _require("\nend of parameters\n" in text, "its end is missing")
    found = _TAIL.fullmatch(text)
    _require(found is not None, "what follows its trees is damaged")
    assert found is not None
    names = [line.partition(":")[0] for line in found[1].splitlines()]
    _require(len(set(names)) == len(names), "it repeats a parameter")


def _check_tree(number: int, text: str, num_features: int) -> None:
    where = f"tree {number}"
    first, *lines = text.rstrip("\n").split("\n")
    fields = dict(line.partition("=")[::2] for line in lines)
    plain = fields.get("num_cat", "0") == "0" and fields.get("is_linear", "0") == "0"
    _require(plain, f"{where} has categorical splits or linear leaves, which are not supported")
    whole = first == f"Tree={number}" and len(fields) == len(lines) and set(fields) | {"is_linear"} == _FIELDS
    _require(whole, f"{where} lacks or repeats a field")
    leaves = int(fields["num_leaves"]) if re.fullmatch(r"\d{1,4}", fields["num_leaves"]) else 0
    _require(1 <= leaves <= _MOST_LEAVES, f"{where} has an impossible number of leaves")
    _array(fields["shrinkage"], 1, _NUMBERS, where)
    _array(fields["leaf_value"], leaves, _NUMBERS, where)
    _array(fields["leaf_count"], leaves, _NUMBERS, where)
    _array(fields["leaf_weight"], leaves if leaves > 1 else 0, _NUMBERS, where)
    for name in _PER_SPLIT_REAL:
        _array(fields[name], leaves - 1, _NUMBERS, where)
    _words(fields["threshold"], leaves - 1, _THRESHOLDS, where)
    split = {name: _integers(fields[name], leaves - 1, where) for name in _PER_SPLIT}
    in_range = all(0 <= feature < num_features for feature in split["split_feature"])
    _require(in_range, f"{where} splits on a feature that does not exist")
    _require(set(split["decision_type"]) <= _DECISIONS, f"{where} has an unknown kind of split")
    _check_shape(split["left_child"], split["right_child"], where)


def _check_shape(left: list[int], right: list[int], where: str) -> None:
    """From the root, every inner node and every leaf (``~leaf``) is reached exactly once."""
    num_splits = len(left)
    reached = sorted(chain(left, right))
    expected = [*range(-num_splits - 1, 0), *range(1, num_splits)] if num_splits else []
    _require(reached == expected, f"{where} is not a tree")
    seen, waiting = 0, [0] if num_splits else []
    while waiting:
        node = waiting.pop()
        seen += 1
        waiting += (child for child in (left[node], right[node]) if child >= 0)
    _require(seen == num_splits, f"{where} is not a tree")


def _integers(text: str, length: int, where: str) -> list[int]:
    return [int(word) for word in _array(text, length, _INTEGERS, where)]


def _array(text: str, length: int, pattern: re.Pattern[str], where: str) -> list[str]:
    words = _words(text, length, pattern, where)
    _require(all(map(math.isfinite, map(float, words))), f"{where} holds an infinite number")
    return words


def _words(text: str, length: int, pattern: re.Pattern[str], where: str) -> list[str]:
    _require(pattern.fullmatch(text) is not None, f"{where} holds something that is no number")
    words = text.split(" ") if text else []
    _require(len(words) == length, f"{where} has {len(words)} numbers where {length} belong")
    return words


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise BundleError(f"the LightGBM model cannot be used: {problem}")
