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
    alike = vectors @ vectors.T
    likeness = np.zeros(len(relevance))
    value = (1 - level) * relevance
    chosen = np.empty(min(limit, len(relevance)), np.int64)
    for step in range(len(chosen)):
        best = int(np.argmax(value - level * likeness))
        chosen[step] = best
        value[best] = -np.inf
        likeness = alike[best].astype(np.float64) if step == 0 else np.maximum(likeness, alike[best])
    return chosen
