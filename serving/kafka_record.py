"""One event, or one merge, as it lies in the topic.

The key names the tenant and whose event it is, so that everything one person does lies in one partition, in
its order; a merge lies with its visitor. The value is JSON: a field that is absent is ``None``, one that
nobody knows is left alone.
"""

from pydantic import TypeAdapter, ValidationError

from recsys.errors import DataError
from recsys.schema import EVENT_TYPE_CODES
from serving.event import Event, Merge

_EVENT, _MERGE = TypeAdapter(Event), TypeAdapter(Merge)
_LOGIN = b"m"
"""First byte of a merge's value; an event's is that of a JSON object."""


def key_of(tenant: str, record: Event | Merge) -> bytes:
    r"""The key of a record.

    >>> key_of("shop", Merge("\x1fvisitor:v1", "u1", 0))
    b'shop/\x1fvisitor:v1'
    """
    return f"{tenant}/{record.visitor if isinstance(record, Merge) else record.user_id}".encode()


def is_of(tenant: str, key: bytes | None) -> bool:
    """Whether a key is one of a tenant's.

    >>> is_of("shop", b"shop/u1"), is_of("shop", b"shop2/u1"), is_of("shop", None)
    (True, False, False)
    """
    return key is not None and key.startswith(f"{tenant}/".encode())


def encode(record: Event | Merge) -> bytes:
    """The value of a record."""
    if isinstance(record, Merge):
        return _LOGIN + _MERGE.dump_json(record)
    return _EVENT.dump_json(record, exclude_none=True)


def decode(value: bytes | None) -> Event | Merge:
    """The inverse of ``encode``.

    Raises:
        DataError: The value is not one that ``encode`` makes.
    """
    try:
        if value is None:
            raise DataError("expected an event, got an empty record")
        if value.startswith(_LOGIN):
            return _MERGE.validate_json(value[1:], strict=True)
        event = _EVENT.validate_json(value, strict=True)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
        raise DataError(f"expected an event in JSON, got something else: {fields}") from None
    if event.event_id is None or event.event_type not in EVENT_TYPE_CODES:
        raise DataError("expected an event with an id and a known type")
    return event
