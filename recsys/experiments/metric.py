"""What an experiment measures: one metric, as its definition names it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["primary", "secondary", "guardrail"]
"""The primary metric decides, secondary ones explain, guardrails must not get worse."""
Kind = Literal["mean", "proportion", "ratio"]
Direction = Literal["increase", "decrease"]

_COLUMNS = {"mean": ("value",), "proportion": ("value",), "ratio": ("numerator", "denominator")}


class MetricDefinition(BaseModel):
    """One ``[[metrics]]`` table: columns of the data with one row per unit, and what is asked of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,100}$")
    """Distinct within the experiment."""
    role: Role = "secondary"
    kind: Kind = "mean"
    """``mean`` and ``proportion`` (0 or 1) take ``value``; ``ratio`` is the sum of ``numerator`` over the sum
    of ``denominator``."""
    value: str | None = Field(default=None, min_length=1)
    """Column of a mean or a proportion."""
    numerator: str | None = Field(default=None, min_length=1)
    """Column of a ratio."""
    denominator: str | None = Field(default=None, min_length=1)
    """Column of a ratio."""
    covariate: str | None = Field(default=None, min_length=1)
    """Column known before the first exposure, that explains some of the variance (CUPED); absent for none."""
    winsorize: float | None = Field(default=None, gt=0.5, le=1)
    """Quantile of all arms together above which values are cut to it; absent for none."""
    margin: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Absolute amount by which a guardrail may get worse and still pass; absent counts as 0."""
    direction: Direction = "increase"
    """Which way is better."""

    @model_validator(mode="after")
    def _has_its_columns(self) -> "MetricDefinition":
        needed = _COLUMNS[self.kind]
        given = [name for name in ("value", "numerator", "denominator") if getattr(self, name) is not None]
        if tuple(given) != needed:
            raise ValueError(
                f"expected {' and '.join(needed)} for kind {self.kind!r}, got {' and '.join(given) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _margin_is_a_guardrails(self) -> "MetricDefinition":
        if self.margin is not None and self.role != "guardrail":
            raise ValueError(f"expected margin on guardrails only, got it with role {self.role!r}")
        return self

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Columns of what is measured: the value, or numerator and denominator."""
        return tuple(name for name in (self.value, self.numerator, self.denominator) if name is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the data must have."""
        return self.outcomes if self.covariate is None else (*self.outcomes, self.covariate)
