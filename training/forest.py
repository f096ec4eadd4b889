"""Several boosters as one whose margin is the sum of theirs, in LightGBM's text format."""

import re
from collections.abc import Sequence

from recsys.lightgbm_alone import lightgbm

_TREES = re.compile(r"(?=^Tree=\d+\n)", re.MULTILINE)


def joined(boosters: Sequence[lightgbm.Booster]) -> lightgbm.Booster:
    """One booster with the trees of all, in order; explanations of the sum stay exact.

    The first one's parameters and objective are kept. LightGBM merges models in C alone, so the text is put
    together here: its header says how many bytes each tree takes, and every tree its number.

    Args:
        boosters: Trained on the same columns, with one score per row.
    """
    parts = [_split(booster) for booster in boosters]
    head, _, tail = parts[0]
    every = [tree for _, trees, _ in parts for tree in trees]
    numbered = [re.sub(r"^Tree=\d+", f"Tree={i}", tree, count=1) for i, tree in enumerate(every)]
    sizes = " ".join(str(len(tree.encode())) for tree in numbered)
    text = f"{head}\ntree_sizes={sizes}\n\n{''.join(numbered)}end of trees{tail}"
    return lightgbm.Booster(model_str=text)


def _split(booster: lightgbm.Booster) -> tuple[str, list[str], str]:
    """What stands before the tree sizes, the trees, and what follows their end."""
    head, rest = booster.model_to_string().split("\ntree_sizes=", 1)
    body, tail = rest.split("\n\n", 1)[1].split("end of trees", 1)
    return head, [tree for tree in _TREES.split(body) if tree], tail
