"""Bearer tokens: who may do what, read from a TOML file that holds their digests and never the tokens.

::

    [[tokens]]
    name = "web"
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    tenant = "default"
    roles = ["read", "write"]
    requests_per_second = 200
    burst = 400
"""

import hashlib
import secrets
import tomllib
from enum import Enum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import ConfigError

TOKEN_PREFIX = "recsys_"  # makes a leaked token recognisable, is no secret
_TOKEN_BYTES = 32


class Role(Enum):
    """What a token may be used for; no role includes another."""

    READ = "read"
    """Recommendations and lookups."""
    WRITE = "write"
    """Events and the catalogue."""
    ADMIN = "admin"
    """Everything that changes what is served."""


class TokenConfig(BaseModel):
    """One caller."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """What people call it."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the token's UTF-8 bytes, in lower-case hexadecimal digits."""
    tenant: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The tenant it belongs to; a server lets in only tokens of the tenant it serves."""
    roles: frozenset[Role] = Field(min_length=1)
    """What it may be used for."""
    expires: AwareDatetime | None = None
    """Until when it opens anything, such as ``2027-01-31T00:00:00Z``; none for as long as it stands here."""
    requests_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Calls per second on average, per server process; none for no limit."""
    burst: int | None = Field(default=None, ge=1)
    """Calls at once after a pause; default: those of one second, at least one."""


class _TokensFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[TokenConfig, ...]


def read_tokens(path: Path) -> tuple[TokenConfig, ...]:
    """Read a tokens file.

    Raises:
        ConfigError: It cannot be read or breaks a rule; its values are not repeated.
    """
    try:
        tokens = _TokensFile(**tomllib.loads(path.read_text(encoding="utf-8"))).tokens
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"the tokens file {path} is wrong: {problems}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the tokens file {path} cannot be read: {error}") from error
    for what in ("name", "sha256"):
        values = [getattr(token, what) for token in tokens]
        if len(set(values)) < len(values):
            raise ConfigError(f"the tokens file {path} is wrong: two tokens have the same {what}")
    return tokens


def digest(token: str) -> str:
    """The digest that a tokens file holds of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A token that nobody can guess."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
