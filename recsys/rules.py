"""Business rules: what the shop wants of its lists beside what the model does, read from ``rules.toml``.

The file lies in the workspace, not in a bundle, so that rules change without a training::

    [[rules]]
    name = "summer"
    action = "boost"
    factor = 2
    filter = 'tags:"summer"'
    start = 2026-06-01
    end = 2026-08-31
    placements = ["home"]
    attributes = { country = ["NL", "BE"] }

Rules are applied in the file's order, each to the list that the one before left; caps come after boosts, and
pins last of all. ``recsys.rule_book`` knows which items a rule means, ``recsys.arrangement`` moves them.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from recsys.errors import ConfigError, InvalidRequestError
from recsys.item_filter import compile_filter
from recsys.schema import MAX_ID_BYTES


class _Rule(BaseModel):
    """What every rule says: its name, and when it applies to which requests."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=64)
    """Distinct; answers name it in ``rule_steps``."""
    start: datetime | None = None
    """From when on; a date is its first moment, and without a zone it is UTC."""
    end: datetime | None = None
    """Until when, itself not included; a date is its last moment, so that the day still counts."""
    placements: tuple[str, ...] = ()
    """Where it applies; empty for everywhere."""
    attributes: dict[str, tuple[str, ...]] = {}
    """Requests it is for: each named attribute has one of the values; empty for all."""

    @field_validator("start", mode="before")
    @classmethod
    def _from_midnight(cls, given: object) -> object:
        return _moment(given, timedelta(0))

    @field_validator("end", mode="before")
    @classmethod
    def _to_midnight(cls, given: object) -> object:
        return _moment(given, timedelta(days=1))

    @field_validator("attributes", mode="before")
    @classmethod
    def _one_or_more(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: (values,) if isinstance(values, str) else values for name, values in given.items()}

    @model_validator(mode="after")
    def _start_before_end(self) -> "_Rule":
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"expected start before end, got {self.start} and {self.end}")
        return self

    def applies(self, placement: str, attributes: Mapping[str, str], as_of_ms: int) -> bool:
        """Whether it is meant for a request.

        Args:
            placement: The request's placement.
            attributes: The request's attributes.
            as_of_ms: The request's moment, milliseconds since the epoch.
        """
        if self.placements and placement not in self.placements:
            return False
        meant = all(attributes.get(name) in values for name, values in self.attributes.items())
        return meant and self.runs(as_of_ms)

    def runs(self, as_of_ms: int) -> bool:
        """Whether a moment, in milliseconds since the epoch, lies between its start and its end."""
        started = self.start is None or as_of_ms >= self.start.timestamp() * 1000
        return started and (self.end is None or as_of_ms < self.end.timestamp() * 1000)


def _moment(given: object, of_day: timedelta) -> object:
    """A time with its zone; a date is the moment that long after it begins."""
    if isinstance(given, datetime):
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    return datetime.combine(given, time(), UTC) + of_day if isinstance(given, date) else given


class _OfItems(_Rule):
    filter: str = Field(min_length=1)
    """Which items, see ``recsys.item_filter.compile_filter``."""

    @field_validator("filter")
    @classmethod
    def _readable(cls, given: str) -> str:
        try:
            if given:
                compile_filter(given)
        except InvalidRequestError as error:
            raise ValueError(error.violations[0].description) from None
        return given


class Boost(_OfItems):
    """Moves items up: one on the n-th place, counted from 1, goes to place n / factor."""

    action: Literal["boost"]
    factor: float = Field(gt=1, le=1000)
    """Places are divided by it. Places and not scores, because a score's scale is each model's own."""


class Bury(_OfItems):
    """Moves items down: one on the n-th place, counted from 1, goes to place n * factor."""

    action: Literal["bury"]
    factor: float = Field(gt=1, le=1000)
    """Places are multiplied by it."""


class Exclude(_OfItems):
    """Leaves items out."""

    action: Literal["exclude"]


class Cap(_OfItems):
    """Lets at most some items of one brand or category among the first ones; the others follow those."""

    action: Literal["cap"]
    filter: str = ""
    """Which items count; empty for all."""
    by: Literal["brand", "category", "parent_category"]
    """What they have in common; items without one are not capped."""
    most: int = Field(ge=1)
    """Items of one kind."""
    first: int = Field(ge=1, le=1000)
    """The places that count."""


class Pin(_Rule):
    """Puts one item on a place, if it can be sold and the request does not leave it out."""

    action: Literal["pin"]
    item_id: str = Field(min_length=1, max_length=MAX_ID_BYTES)
    """The item; it need not be a candidate."""
    position: int = Field(ge=0, lt=1000)
    """The place, 0 the first."""


Rule = Boost | Bury | Exclude | Cap | Pin


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Annotated[Rule, Field(discriminator="action")], ...] = ()

    @field_validator("rules")
    @classmethod
    def _distinct(cls, given: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in given]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected distinct names, got {', '.join(twice)} more than once")
        return given


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Read the rules, or none when there is no file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or a rule in it is not known or makes no sense.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the rules in {path} cannot be read: {error}") from error
    try:
        return _File.model_validate(tomllib.loads(text)).rules
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path} does not fit: {problems}") from error
