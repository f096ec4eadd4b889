"""Lists whose items are unlike each other: maximal marginal relevance."""

import numpy as np
from jaxtyping import Float32, Float64, Int64


def diversified(
    relevance: Float64[np.ndarray, " items"],
    vectors: Float32[np.ndarray, "items dim"],
    level: float,
    limit: int,
) -> Int64[np.ndarray, " chosen"]:
    r"""Choose items one by one: the most relevant that are least like those already chosen.

    With the level :math:`d`, each step takes

    .. math:: \arg\max_{i \notin S} \; (1 - d) \, \mathrm{rel}(i) - d \max_{j \in S} \cos(i, j)

    where an empty :math:`S` counts as 0. The first choices do not depend on ``limit``.

    Args:
        relevance: From 0 to 1, larger is better.
        vectors: Unit vectors.
        level: 0 orders by relevance alone, 1 by unlikeness alone.
        limit: Most items to choose.

    Returns:
        Rows in the order chosen; ties by row.

    Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998, with
        lambda = 1 - d.
    """
    likeness = np.full(len(relevance), -np.inf)  # of each item to the chosen one that is most like it
    value = (1 - level) * relevance
    chosen = np.empty(min(limit, len(relevance)), np.int64)
    for step in range(len(chosen)):
        best = int((value - level * likeness if step else value).argmax())
        chosen[step] = best
        value[best] = -np.inf
        np.maximum(likeness, vectors @ vectors[best], out=likeness)
    return chosen
