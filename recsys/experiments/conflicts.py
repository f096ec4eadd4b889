"""What keeps experiments from running at once."""

from collections.abc import Iterable
from itertools import combinations

from recsys.errors import ConfigError
from recsys.experiments.definition import Experiment


def check_together(experiments: Iterable[Experiment]) -> None:
    """See that experiments can run at once.

    Raises:
        ConfigError: Two have one key; two of one layer overlap or differ in ``hash`` or ``unit``; or two of
            different layers replace the same thing or have one salt.
    """
    for one, other in combinations(experiments, 2):
        if one.key == other.key:
            raise ConfigError(f"key: expected distinct experiments, got {one.key!r} twice")
        if one.layer != other.layer:
            _require_apart(one, other)
            _require_own_salts(one, other)
            continue
        for name in ("hash", "unit"):
            mine, theirs = getattr(one, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(
                    f"{name}: expected one for all of layer {one.layer!r}, got {mine!r} in {one.key!r} "
                    f"and {theirs!r} in {other.key!r}; give one of them another layer"
                )
        if max(one.layer_range[0], other.layer_range[0]) < min(one.layer_range[1], other.layer_range[1]):
            raise ConfigError(
                f"layer_range: expected parts of layer {one.layer!r} that do not overlap, got "
                f"{list(one.layer_range)} in {one.key!r} and {list(other.layer_range)} in {other.key!r}; "
                "change one of them, give one another layer, or stop one"
            )


def _require_own_salts(one: Experiment, other: Experiment) -> None:
    """The salt alone makes layers independent: of equal ones, an arm in one says the arm in the other."""
    if (one.salt, one.hash) == (other.salt, other.hash):
        raise ConfigError(
            f"salt: expected another one in every layer, got {one.salt!r} in both {one.key!r} (layer "
            f"{one.layer!r}) and {other.key!r} (layer {other.layer!r}), so that the effects of one would be "
            "taken for those of the other; leave salt out, or give one of them another"
        )


def _require_apart(one: Experiment, other: Experiment) -> None:
    """Experiments of different layers meet in one request, so they must not replace the same thing."""
    both = sorted(one.changes & other.changes)
    if both:
        raise ConfigError(
            "arms: expected experiments of different layers to change different things, got "
            f"{', '.join(both)} in both {one.key!r} and {other.key!r}; put them on parts of one layer"
        )
