"""A published blurb as the online store holds it, the address that it is read by, and what it is named by."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Final

from recsys.errors import StoreError

_VERSION: Final = 1

LENGTHS: Final = {"line": 80, "short": 160}
"""Length classes by name: most characters of a blurb."""
DEFAULT_LENGTH: Final = "short"
DEFAULT_POLICY: Final = "default"
ANYBODY: Final = ""
"""The segment of a blurb that is for everybody."""


class Source(StrEnum):
    """Where a blurb's words come from."""

    EXTRACTIVE = "EXTRACTIVE"
    """The shop's own words: cut out of an item's fields."""
    GENERATED = "GENERATED"
    """A model's words, let through by the gate."""
    GENERATED_REVIEWED = "GENERATED_REVIEWED"
    """A model's words, approved by a person, perhaps edited."""
    HUMAN = "HUMAN"
    """A person's words."""


@dataclass(frozen=True)
class BlurbSlot:
    """What a blurb is for; the store holds at most one per slot."""

    item_id: str
    language: str
    """BCP 47."""
    segment: str = ANYBODY
    """A name of ``recsys.blurbs.segments``, or ``ANYBODY``."""
    length: str = DEFAULT_LENGTH
    """A name of ``LENGTHS``."""
    policy: str = DEFAULT_POLICY
    """Which way of making blurbs: arms of an experiment may read different ones."""


@dataclass(frozen=True)
class BlurbRow:
    """One approved blurb. Times are milliseconds since the epoch, UTC, of the wall's clock."""

    text: str
    """Plain text, never HTML."""
    source: Source
    ai_generated: bool
    """True also when a person edited what a model wrote."""
    language: str
    """BCP 47."""
    model: str
    """Model and revision, or ``extractive``."""
    prompt_version: str
    blurb_id: str
    """Names this text in reports and in the book, 32 hexadecimal digits."""
    generated_at: int
    fact_ids: tuple[str, ...]
    """Facts that the text uses, see ``recsys.blurbs.facts``."""
    fresh_until: int
    """From then on the text is stale: it may be shown while another one is made."""
    stale_until: int
    """From then on it may not be shown."""
    facts_hash: str
    """Content hash of the facts that the gate last checked the text against."""

    def to_bytes(self) -> bytes:
        """The inverse of ``from_bytes``."""
        return bytes((_VERSION,)) + json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "BlurbRow":
        """Read what ``to_bytes`` wrote.

        Raises:
            StoreError: The bytes are damaged or of another version.
        """
        if not raw or raw[0] != _VERSION:
            raise StoreError(f"a blurb of version {raw[0] if raw else 'none'}, expected {_VERSION}")
        try:
            given = json.loads(raw[1:])
            values = {field.name: given[field.name] for field in fields(cls)}
            values["source"], values["fact_ids"] = Source(values["source"]), tuple(values["fact_ids"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"a blurb cannot be read: {type(error).__name__}") from error
        return cls(**values)


def blurb_key(
    slot: BlurbSlot, *, facts_hash: str, prompt_version: str, model: str, decoding: str, gate_version: str
) -> str:
    """SHA-256, hexadecimal, of everything that a text depends on.

    Args:
        slot: Item, segment, language, length class and policy: arms of an experiment keep their texts apart.
        facts_hash: ``Facts.content_hash`` of the facts that the backend is shown.
        prompt_version: See ``recsys.blurbs.prompt``.
        model: Model and revision, ``name@revision``.
        decoding: How tokens are drawn.
        gate_version: Version of the checks and their lexicons.
    """
    parts = (
        slot.item_id,
        facts_hash,
        slot.segment,
        slot.language,
        slot.length,
        slot.policy,
        prompt_version,
        model,
        decoding,
        gate_version,
    )
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def blurb_id(key: str, text: str) -> str:
    """The name of a text made for a key: 32 hexadecimal digits. An edited text has another one."""
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:32]
