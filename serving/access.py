"""Who is let through: bearer tokens, their roles and tenant, and their quotas."""

import hmac
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from recsys.errors import ConfigError
from serving.call import Metadata
from serving.errors import ForbiddenError, QuotaError, UnauthenticatedError
from serving.tokens import Role, TokenConfig, digest, read_tokens

_log = structlog.get_logger(__name__)

_CHECK_SECONDS = 1.0
_OPEN = "/grpc.health.v1.Health/"
_ROLES = {
    "/recsys.v1.RecommendationService/": Role.READ,
    "/recsys.v1.EventService/": Role.WRITE,
    "/recsys.v1.CatalogService/": Role.WRITE,
    "/recsys.v1.CatalogService/BatchGetItems": Role.READ,
    "/recsys.v1.ExperimentService/": Role.READ,
    "/recsys.v1.BlurbService/BatchGetBlurbs": Role.READ,
    "/recsys.v1.BlurbService/ReportBlurb": Role.WRITE,
    "/grpc.reflection.v1alpha.ServerReflection/": Role.READ,
}
"""Role by service or method. What is not listed needs ``admin``, so that a new service is closed at first."""


class Bucket:
    """A token bucket: fills at a rate up to a size, and each call takes one out."""

    def __init__(self, per_second: float, size: int) -> None:
        self.per_second, self.size = per_second, size
        self._level, self._at = float(size), time.monotonic()

    def take(self) -> float:
        """Take one out; 0 when there was one, else the seconds until there is."""
        now = time.monotonic()
        self._level = min(self.size, self._level + (now - self._at) * self.per_second)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self.per_second
        self._level -= 1
        return 0.0


class Access:
    """Admits calls by the tokens of a file, which is read again when it changes."""

    def __init__(self, path: Path, tenant: str) -> None:
        """Read the tokens.

        Args:
            path: The tokens file.
            tenant: The tenant that this server serves.

        Raises:
            ConfigError: The file cannot be read or breaks a rule.
        """
        self._path, self._tenant = path, tenant
        self._modified = _modified(path)
        self._checked_at = time.monotonic()
        self._buckets: dict[str, Bucket] = {}
        self._use(read_tokens(path))

    def admit(self, method: str, metadata: Metadata) -> None:
        """Let a call through, or raise. Health checks pass without a token and outside every quota.

        Raises:
            UnauthenticatedError: There is no token, or nobody knows it.
            ForbiddenError: The token lacks the role or belongs to another tenant.
            QuotaError: The token has used its quota up.
        """
        if method.startswith(_OPEN):
            return
        self._refresh()
        token = self._find(_bearer(metadata))
        if token.tenant != self._tenant or _role(method) not in token.roles:
            raise ForbiddenError("this token has no right to that method")
        bucket = self._buckets.get(token.sha256)
        if bucket is not None and (seconds := bucket.take()):
            raise QuotaError(seconds)

    def _find(self, bearer: str) -> TokenConfig:
        """Compares with every digest to the end, so that the time tells nothing of how near a guess came."""
        offered, found = digest(bearer), None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, offered):
                found = token
        if found is None or (found.expires is not None and found.expires <= datetime.now(UTC)):
            raise UnauthenticatedError("nobody knows this token")
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        modified = _modified(self._path)
        if modified == self._modified:
            return
        self._modified = modified
        try:
            self._use(read_tokens(self._path))
        except ConfigError as error:
            _log.error("the tokens that were known before stay valid", reason=str(error))
        else:
            _log.info("tokens were read again", num_tokens=len(self._tokens))

    def _use(self, tokens: Sequence[TokenConfig]) -> None:
        self._tokens = tokens
        limited = {t.sha256: Bucket(t.requests_per_second, _size(t)) for t in tokens if t.requests_per_second}
        for key, bucket in limited.items():
            old = self._buckets.get(key)
            if old is not None and (old.per_second, old.size) == (bucket.per_second, bucket.size):
                limited[key] = old
        self._buckets = limited


def _size(token: TokenConfig) -> int:
    return token.burst or max(1, int(token.requests_per_second or 1))


def _role(method: str) -> Role:
    service = method[: method.rindex("/") + 1]
    return _ROLES.get(method) or _ROLES.get(service, Role.ADMIN)


def _bearer(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    raise UnauthenticatedError("a bearer token is needed")


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
