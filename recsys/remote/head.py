"""What a store holds: a numbered document, of which the highest number counts.

Numbers are taken once, see ``Objects.create``. A head that somebody publishes late, below the highest, is
seen by nobody, and whoever published it learns so.
"""

import gzip
import re
import zlib
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import ObjectStoreError
from recsys.remote.objects import Objects
from recsys.remote.units import Content, check_places

SCHEMA_VERSION: Final = 1
_PREFIX = "head"
_NAME = re.compile(r"head/(\d{12})\.json\.gz")
_SUBJECT = re.compile(r"[0-9a-f]{64}-\d+")
_LOOKS = 10


class File(Content):
    """A file of a unit in the store."""

    push: str
    """Which push wrote it."""

    def object_name(self, path: str) -> str:
        """What the object is called that holds it; no other one ever was."""
        return f"data/{path}/{self.sha256}-{self.push}"


class People(BaseModel):
    """Who was erased and who objects: names of ``recsys.digest_names``, and the key they are made with."""

    model_config = ConfigDict(frozen=True)
    key: str | None = None
    tombstones: frozenset[str] = frozenset()
    objections: frozenset[str] = frozenset()


class Head(BaseModel):
    """What a store holds."""

    model_config = ConfigDict(frozen=True)
    schema_version: int = SCHEMA_VERSION
    number: int = 0
    """0 for a store that holds nothing."""
    units: dict[str, dict[str, File]] = {}
    """Files by path, by unit."""
    people: People = People()
    removed: tuple[str, ...] = ()
    """Objects that this head no longer names, and that may still be there."""

    def objects(self) -> set[str]:
        """The objects that it names; what is empty has none."""
        return {
            file.object_name(path) for unit in self.units.values() for path, file in unit.items() if file.size
        }

    def contents(self, name: str) -> dict[str, Content]:
        """A unit's files without where they are."""
        files = self.units.get(name, {})
        return {path: Content(sha256=file.sha256, size=file.size) for path, file in files.items()}


def read_head(objects: Objects) -> Head:
    """What a store holds now.

    Raises:
        ObjectStoreError: It cannot be reached, or its head is damaged or of another version of this code.
    """
    for _ in range(_LOOKS):
        number = max(_numbers(objects), default=0)
        if not number:
            return Head()
        try:
            return _parse(objects, objects.read(_name(number)), number)
        except FileNotFoundError:  # somebody published the next one meanwhile
            continue
    raise ObjectStoreError(f"{objects.url} changes faster than it can be read; try again")


def publish_head(objects: Objects, head: Head) -> bool:
    """Let a head count; whether it does, or somebody else was faster."""
    name = _name(head.number)
    if not objects.create(name, gzip.compress(head.model_dump_json().encode(), 6, mtime=0)):
        return False
    if max(_numbers(objects)) > head.number:
        objects.remove([name])
        return False
    return True


def remove_older_heads(objects: Objects, number: int) -> None:
    """Remove what no longer counts."""
    objects.remove([_name(old) for old in _numbers(objects) if old < number])


def _numbers(objects: Objects) -> list[int]:
    return [int(found[1]) for name in objects.list(_PREFIX) if (found := _NAME.fullmatch(name))]


def _name(number: int) -> str:
    return f"{_PREFIX}/{number:012d}.json.gz"


def _parse(objects: Objects, raw: bytes, number: int) -> Head:
    try:
        head = Head.model_validate_json(gzip.decompress(raw))
        if head.schema_version != SCHEMA_VERSION:
            raise ObjectStoreError(
                f"{objects.url} is of version {head.schema_version}, this code reads {SCHEMA_VERSION}; "
                "use the same version of recsys everywhere"
            )
        for name, files in head.units.items():
            check_places(name, files)
        if head.number != number or not all(map(_SUBJECT.fullmatch, _subjects(head.people))):
            raise ValueError("its number or its names are not its own")
    except (ValidationError, ValueError, OSError, EOFError, zlib.error) as error:
        raise ObjectStoreError(
            f"head {number} of {objects.url} is damaged ({type(error).__name__}); push to an empty prefix "
            "from a whole copy"
        ) from error
    return head


def _subjects(people: People) -> set[str]:
    return {*people.tombstones, *people.objections}
