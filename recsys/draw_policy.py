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
    places: int
    """So many first places are drawn; what stands below is the rest in its order, with propensities of 1."""

    @property
    def text(self) -> str:
        """The policy as one word of a served list; the inverse of ``read``."""
        return f"plackett_luce temperature={self.temperature:g} pool={self.pool} places={self.places}"

    @classmethod
    def read(cls, text: str) -> "DrawPolicy":
        """Read what ``text`` wrote.

        Raises:
            DataError: It is another policy, or one that does not say how many places were drawn.

        >>> DrawPolicy.read(DrawPolicy(0.5, 50, 10).text)
        DrawPolicy(temperature=0.5, pool=50, places=10)
        """
        temperature = re.search(rf"temperature={_NUMBER}", text)
        pool, places = (re.search(rf"{name}=([0-9]+)", text) for name in ("pool", "places"))
        if not text.startswith("plackett_luce") or temperature is None or pool is None or places is None:
            raise DataError(
                "expected a list drawn by plackett_luce with temperature, pool and places, got the policy "
                f"{text!r}"
            )
        return cls(float(temperature[1]), int(pool[1]), int(places[1]))
