"""How a served list was drawn at random, as its ``policy`` says; another model's propensities follow."""

import re
from dataclasses import dataclass

from recsys.errors import DataError

_NUMBER = r"([0-9.]+(?:[eE][+-]?[0-9]+)?)"


@dataclass(frozen=True)
class DrawPolicy:
    """Plackett-Luce: slot by slot, by ``exp(score / temperature)`` among what is left of the best ``pool``.

    The n-th item of the list has the n-th best score, so that what rules moved keeps their order likely.
    """

    temperature: float
    """Above 0; the larger, the more alike all items are."""
    pool: int
    """So many first items of the list are drawn from."""

    @property
    def text(self) -> str:
        """The policy as one word of a served list; the inverse of ``read``."""
        return f"plackett_luce temperature={self.temperature:g} pool={self.pool}"

    @classmethod
    def read(cls, text: str) -> "DrawPolicy":
        """Read what ``text`` wrote.

        Raises:
            DataError: It is another policy.

        >>> DrawPolicy.read(DrawPolicy(0.5, 50).text)
        DrawPolicy(temperature=0.5, pool=50)
        """
        temperature = re.search(rf"temperature={_NUMBER}", text)
        pool = re.search(r"pool=([0-9]+)", text)
        if not text.startswith("plackett_luce") or temperature is None or pool is None:
            raise DataError(f"expected a list drawn by plackett_luce, got the policy {text!r}")
        return cls(float(temperature[1]), int(pool[1]))
