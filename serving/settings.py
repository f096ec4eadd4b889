"""Settings of the serving process, from environment variables with the prefix ``RECSYS_``.

What a model or its training depends on is not here but in ``recsys.config``.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.errors import ConfigError


class Settings(BaseSettings):
    """How one server process runs."""

    model_config = SettingsConfigDict(
        env_prefix="RECSYS_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; everything but loopback is reachable from outside, unencrypted without TLS."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    redis_url: SecretStr | None = None
    """A RESP server that holds the state, ``redis://`` or ``unix://``, or a cluster of them, see
    ``recsys.store_url``; none starts an embedded one."""
    kafka_servers: str | None = None
    """Kafka brokers that events go to, as ``host:port,host:port``; none keeps them in the workspace's own
    buffer. ``recsys consume`` then carries them on, and ``redis_url`` names the store that all share."""
    kafka_topic: str = Field(default="recsys-events", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Topic of the events."""
    kafka_options: Path | None = None
    """File with further options of librdkafka, one ``name=value`` a line: TLS, SASL. What it says is never
    logged."""
    kafka_timeout_ms: int = Field(default=800, ge=10)
    """Longest that events wait for the brokers' acknowledgement, in milliseconds; then the call fails with
    ``UNAVAILABLE``. Below the callers' deadlines."""
    tenant: str = Field(default="default", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Prefix of every key in the store."""
    clock: Literal["wall", "replay"] = "wall"
    """``wall`` time, or ``replay`` from the end of the event log."""
    state_timeout_ms: int = Field(default=20, ge=1)
    """Longest that an answer waits for the user's state, in milliseconds; after it, it is not personal."""
    blurb_timeout_ms: int = Field(default=5, ge=1)
    """Longest that an answer waits for its blurbs, in milliseconds; after it, it has the items' own words."""
    store_timeout_ms: int = Field(default=1000, ge=1)
    """Longest single operation on the store outside of answers, in milliseconds."""
    apply_timeout_ms: int = Field(default=250, ge=0)
    """Longest that an accepted batch of events waits to become visible in answers, in milliseconds."""
    ranking_threads: int = Field(default=2, ge=1)
    """Threads that run the ranking pipeline."""
    max_concurrent_requests: int = Field(default=256, ge=1)
    """Calls at once; more are refused with ``RESOURCE_EXHAUSTED``."""
    max_connection_requests: int = Field(default=32, ge=1)
    """Calls at once over one connection; more wait at the client, and cost nothing when they expire there."""
    adaptive_limit: bool = True
    """Whether fewer calls than that are let through as soon as they have to stand in line."""
    automated_agents: str = r"bot\b|crawl|spider|slurp|headless|python-requests|curl/|wget/"
    """Regular expression of the user agents of machines, whose events count for nobody; see
    ``serving.automation``."""
    least_concurrent_requests: int = Field(default=16, ge=1)
    """Calls at once that ``adaptive_limit`` lets through however long they stand in line; half as many of
    what is fetched ahead, and a quarter of batches. With fewer, answers wait less in overload."""
    memory_limit_bytes: int | None = Field(default=None, ge=1)
    """Memory of one process of which 85 % stop optional work and 95 % every call; none takes the limit of the
    control group, where there is one."""
    max_message_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request in bytes."""
    max_events_per_batch: int = Field(default=1000, ge=1)
    """Most events in one ``RecordEvents``."""
    token_keys: SecretStr | None = None
    """Keys of page and attribution tokens, separated by commas, of 16 or more characters: the first signs,
    all are accepted. None makes one and keeps it in the workspace's state directory."""
    page_depth: int = Field(default=500, ge=0, le=10_000)
    """Most items of a list, over all its pages; 0 gives every list one page. The store keeps some 20 bytes of
    each."""
    page_ttl: timedelta = Field(default=timedelta(minutes=15), ge=timedelta(seconds=1))
    """How long the later pages of a list can be asked for."""
    list_retention: timedelta = Field(default=timedelta(days=14), gt=timedelta(0))
    """How long an attribution token can tell the items of its list. Lists stay in ``served_lists`` longer."""
    catalogue_stale_after: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(seconds=1))
    """How long the server recommends without knowing what was withdrawn; then it is UNAVAILABLE."""
    load_encoder: bool = True
    """Whether to load the text encoder at the start, rather than at the first new text, which then waits."""
    reflection: bool = False
    """Whether clients may ask the server for its schema."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that share the port."""
    admin_host: str = "127.0.0.1"
    """Address of the AdminService."""
    admin_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the AdminService; none leaves it off, for whoever reaches it may switch models."""
    try_models: bool = True
    """Whether to load a model in a process of its own before this one does: what crashes a library then
    crashes nobody. It takes some seconds more, and the memory of a second copy meanwhile."""
    require_signature: Path | None = None
    """File with the key that models must be signed with, see ``recsys models sign``; none takes any."""
    shadow_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the recommendations that a shadow model scores too, where there is one."""
    grace_seconds: float = Field(default=5.0, ge=0)
    """Time that calls in flight get when the server stops."""
    drain_seconds: float = Field(default=0.0, ge=0)
    """Time between saying that the server stops and refusing calls, for load balancers to look elsewhere."""
    max_connection_age_seconds: float | None = Field(default=None, gt=0)
    """Age at which a connection is closed, after its calls, so that clients spread anew; none for never."""
    keepalive_seconds: float = Field(default=15.0, gt=0)
    """Time without traffic after which a connection is asked for a sign of life; as much again and it is
    closed."""
    tls_cert: Path | None = None
    """PEM file with the server's certificate chain; read again when it changes."""
    tls_key: Path | None = None
    """PEM file with its private key."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are let in; none asks for no certificate."""
    tokens_file: Path | None = None
    """TOML file with the callers' tokens, see ``serving.tokens``; none lets everybody in."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics endpoint; whoever reaches it may read."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of worker 0's Prometheus endpoint, worker n takes the n-th above it; none for no endpoint."""
    access_log_sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the successful calls that are logged; failed ones always are."""
    traces: bool = False
    """Whether to export OpenTelemetry traces; a set ``OTEL_EXPORTER_OTLP_ENDPOINT`` turns them on too."""
    compact_every: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    """Time between two moves of buffered events into the event log."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: expected both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self

    @model_validator(mode="after")
    def _store_is_shared(self) -> Self:
        if self.kafka_servers is not None and self.redis_url is None:
            raise ValueError("kafka_servers needs redis_url: the store that servers and consumers share")
        return self

    def for_admin(self, port: int) -> "Settings":
        """The same settings for the AdminService, which listens on a port of its own."""
        own = {"host": self.admin_host, "port": port, "workers": 1, "drain_seconds": 0.0}
        return self.model_copy(update=own)


def load_settings(**overrides: object) -> Settings:
    """Read the environment; ``overrides`` that are not ``None`` win over it.

    Raises:
        ConfigError: A value is out of range or not of its type. Values are not repeated, they may be secret.
    """
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            ": ".join([*(str(place) for place in found["loc"]), found["msg"].removeprefix("Value error, ")])
            for found in error.errors()
        )
        raise ConfigError(f"flags or RECSYS_ environment variables are wrong: {problems}") from None


def cannot_listen(settings: Settings) -> ConfigError:
    """What to say when the address or the port is not to be had."""
    return ConfigError(
        f"cannot listen on {settings.host}:{settings.port}; see that the address is this machine's and "
        "the port free, or take any free one with --port 0"
    )
