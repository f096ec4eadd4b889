"""Which segment of the closed list a shopper is nearest to, by the interest vector that ranks for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from recsys.blurbs.row import ANYBODY
from recsys.live_parts import TextVectors

_TINY = np.float32(1e-9)


@dataclass(frozen=True, eq=False)
class SegmentChoice:
    """The segments in the space of a model's items.

    Attributes:
        names: Names of the segments.
        vectors: Unit vectors of their words, by the model's encoder.
        nobody: The interest vector of somebody of whom nothing is known.
    """

    names: tuple[str, ...]
    vectors: Float32[np.ndarray, "segments dim"]
    nobody: Float32[np.ndarray, " dim"]

    @classmethod
    def of(
        cls,
        lines: Mapping[str, str],
        vectors: Mapping[str, TextVectors],
        nobody: Float32[np.ndarray, " dim"],
    ) -> "SegmentChoice":
        """From the segments' lines and what the encoders make of these.

        Args:
            lines: Line by name.
            vectors: Vectors by line, at least of all ``lines``.
            nobody: See the attribute.
        """
        found = np.asarray([vectors[line].tuned for line in lines.values()], np.float32)
        found = found.reshape(len(lines), len(nobody))
        lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _TINY)
        return cls(tuple(lines), found / lengths, nobody)

    def nearest(self, interest: Float32[np.ndarray, " dim"]) -> str:
        """The segment that this interest leans to most, compared with everybody's: ``argmax (u - u0) s``.

        The difference keeps a segment whose words are near to every item from being everybody's.

        Args:
            interest: Unit interest vector of somebody with a history.

        Returns:
            Its name, or ``ANYBODY`` where the interest leans to none.
        """
        if not self.names:
            return ANYBODY
        leans = self.vectors @ (interest - self.nobody)
        best = int(leans.argmax())
        return self.names[best] if leans[best] > 0 else ANYBODY
