"""Everything recsys raises on purpose.

::

    RecsysError
    ├── ConfigError            a setting, a flag or a configuration file is wrong
    ├── DataError              items, users or events break the data contract
    ├── LeakageError           a computation would look past its ``as_of``
    ├── BundleError            a bundle is missing, damaged or does not verify
    │   ├── FeatureMismatchError   a bundle was trained on other feature definitions
    │   └── UnknownModelError      there is no bundle of that version
    ├── ModelConflictError     another model serves than the caller expected
    ├── InvalidRequestError    a caller's request breaks the wire contract
    ├── StoreError             the online store is unreachable or holds unreadable bytes
    ├── IntakeError            an event could not be made durable
    │   └── DiskFullError          there is no room for it now
    ├── ObjectStoreError       the object store is unreachable, holds something else, or two machines disagree
    ├── CatalogueError         changes of the catalogue cannot be read or written
    └── BlurbError             a backend does not write, or the book of blurbs cannot be read or written

Catch ``RecsysError`` at a boundary; catch a leaf where something can be done about it. Messages say what
was expected, what came and what to do. Domain errors know no transport: ``serving.status`` maps them to
gRPC codes. Wrong arguments from our own code stay ``ValueError`` or ``TypeError``.
"""

from dataclasses import dataclass


class RecsysError(Exception):
    """Base of every deliberate error."""


class ConfigError(RecsysError):
    """A setting, a flag or a configuration file is wrong."""


class DataError(RecsysError):
    """Items, users or events break the data contract."""


class LeakageError(RecsysError):
    """A computation would have looked past its ``as_of``."""


class BundleError(RecsysError):
    """A bundle is missing, damaged or does not verify."""


class FeatureMismatchError(BundleError):
    """A bundle was trained on other feature definitions than this code computes."""


class UnknownModelError(BundleError):
    """There is no bundle of that version."""


class ModelConflictError(RecsysError):
    """Another model serves than the caller expected."""


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that breaks a rule."""

    field: str
    """The field's name on the wire, with an index where it repeats: ``item_ids[3]``."""
    description: str
    """What was expected and what came."""


class InvalidRequestError(RecsysError):
    """A caller's request breaks the wire contract."""

    def __init__(self, *violations: FieldViolation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class StoreError(RecsysError):
    """The online store is unreachable or holds unreadable bytes."""


class ObjectStoreError(RecsysError):
    """The object store is unreachable, holds something else, or was changed here and there at once."""


class IntakeError(RecsysError):
    """An event could not be made durable."""


class DiskFullError(IntakeError):
    """There is no room on disk for an event now."""


class CatalogueError(RecsysError):
    """Changes of the catalogue cannot be read or written, so nobody can tell what is for sale."""


class BlurbError(RecsysError):
    """A backend does not write, or the book of blurbs cannot be read or written."""
