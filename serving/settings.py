"""Settings of the serving process, from environment variables with the prefix ``RECSYS_``.

What a model or its training depends on is not here but in ``recsys.config``.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.errors import ConfigError


class Settings(BaseSettings):
    """How one server process runs."""

    model_config = SettingsConfigDict(
        env_prefix="RECSYS_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; everything but loopback is reachable from outside, without encryption."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    redis_url: SecretStr | None = None
    """A RESP server that holds the state, ``redis://`` or ``unix://``; none starts an embedded one."""
    tenant: str = Field(default="default", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Prefix of every key in the store."""
    clock: Literal["wall", "replay"] = "wall"
    """``wall`` time, or ``replay`` from the end of the event log."""
    state_timeout_ms: int = Field(default=20, ge=1)
    """Longest that an answer waits for the user's state, in milliseconds; after it, it is not personal."""
    store_timeout_ms: int = Field(default=1000, ge=1)
    """Longest single operation on the store outside of answers, in milliseconds."""
    apply_timeout_ms: int = Field(default=250, ge=0)
    """Longest that an accepted batch of events waits to become visible in answers, in milliseconds."""
    ranking_threads: int = Field(default=2, ge=1)
    """Threads that run the ranking pipeline."""
    max_concurrent_requests: int = Field(default=256, ge=1)
    """Calls at once; more are refused with ``RESOURCE_EXHAUSTED``."""
    max_message_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request in bytes."""
    max_events_per_batch: int = Field(default=1000, ge=1)
    """Most events in one ``RecordEvents``."""
    catalogue_stale_after: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(seconds=1))
    """How long the server recommends without knowing what was withdrawn; then it is UNAVAILABLE."""
    load_encoder: bool = True
    """Whether to load the text encoder at the start, rather than at the first new text, which then waits."""
    reflection: bool = False
    """Whether clients may ask the server for its schema."""
    grace_seconds: float = Field(default=5.0, ge=0)
    """Time that calls in flight get when the server stops."""
    compact_every: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    """Time between two moves of buffered events into the event log."""


def load_settings(**overrides: object) -> Settings:
    """Read the environment; ``overrides`` that are not ``None`` win over it.

    Raises:
        ConfigError: A value is out of range or not of its type. Values are not repeated, they may be secret.
    """
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"flags or RECSYS_ environment variables are wrong: {problems}") from None
