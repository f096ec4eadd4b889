"""Options of librdkafka: what the settings say, what a file adds, and what nobody may change.

The file holds passwords, so nothing here repeats a value, and no configuration is logged.
"""

from pathlib import Path
from typing import TypeAlias

from recsys.errors import ConfigError
from serving.settings import Settings

Options: TypeAlias = dict[str, str | int | bool]

_QUIET: Options = {"log_level": 0, "client.id": "recsys"}  # what goes wrong comes through ``error_cb``
_FIXED = frozenset(
    {
        "acks",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "isolation.level",
        "metadata.broker.list",
        "partitioner",
        "request.required.acks",
    }
)
"""What the guarantees rest on."""


def client_options(settings: Settings, defaults: Options, own: Options) -> Options:
    """Everything that a producer or a consumer is made with.

    Args:
        settings: Name the brokers, and the file.
        defaults: What the file may say otherwise.
        own: What this client rests on; it wins over the file.

    Raises:
        ConfigError: The file cannot be read, or says what it may not.
    """
    given = {} if settings.kafka_options is None else _read(settings.kafka_options)
    return {**_QUIET, **defaults, **given, **own, "bootstrap.servers": settings.kafka_servers or ""}


def refused(error: Exception, options: Options) -> ConfigError:
    """What to say of options that librdkafka does not take; its own words may repeat a value."""
    named = [name for name in options if f'"{name}"' in str(error)]
    which = ", ".join(named) or "some in the file of RECSYS_KAFKA_OPTIONS"
    return ConfigError(f"librdkafka does not take these options: {which}")


def _read(file: Path) -> Options:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"RECSYS_KAFKA_OPTIONS cannot be read: {type(error).__name__}") from None
    options: Options = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(f"RECSYS_KAFKA_OPTIONS, line {number}: expected name=value")
        if name in _FIXED:
            raise ConfigError(f"RECSYS_KAFKA_OPTIONS, line {number}: {name} is set by recsys; leave it out")
        options[name] = value
    return options
