"""What was changed here and by another machine: what to say of it, and what to do."""

from collections.abc import Mapping
from typing import Final

from recsys.errors import ModelConflictError, ObjectStoreError, RecsysError
from recsys.remote.units import kind_of

_NAMED: Final = 5
_AGAIN: Final = {"pointers": "promote again", "items": "ingest again", "users": "ingest again"}


def advice(url: str, name: str) -> str:
    """What to do about a unit that was changed here and in a store.

    Args:
        url: The store's.
        name: The unit's.
    """
    if kind_of(name) == "log":
        return (
            "other events were appended there under this name, as by a copy of a workspace with its state/, "
            "or fewer: keep events/ of here aside, take the store's with: recsys remote pull "
            f"{url} --theirs, and ingest what it lacks; or push to an empty prefix from a whole copy"
        )
    again = _AGAIN.get(kind_of(name), "do it again")
    return f"take the store's with: recsys remote pull {url} --theirs; then {again}"


def torn_error(url: str, torn: Mapping[str, str]) -> RecsysError | None:
    """The error that says that units were changed here and there; ``None`` where none was.

    Args:
        url: The store's.
        torn: What to do, by unit.
    """
    if not torn:
        return None
    units: dict[str, list[str]] = {}
    for name in sorted(torn):
        units.setdefault(torn[name], []).append(name)
    told = "; ".join(f"{_some(names)}: {what}" for what, names in units.items())
    kind = ModelConflictError if set(torn) == {"pointers"} else ObjectStoreError
    return kind(f"changed here, and in {url} by another machine, so it stays as it is on both sides: {told}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
