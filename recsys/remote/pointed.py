"""Which models a store's pointers name."""

from recsys.errors import ObjectStoreError
from recsys.registry import Pointers
from recsys.remote.head import File, Head
from recsys.remote.objects import Objects
from recsys.remote.transfer import MissingObjectError
from recsys.remote.units import Content


def read_file(objects: Objects, path: str, file: File) -> bytes:
    """What a small file of a store holds.

    Raises:
        MissingObjectError: The store has it no more.
        ObjectStoreError: It holds something else than its head says.
    """
    if not file.size:
        return b""
    try:
        content = objects.read(file.object_name(path))
    except FileNotFoundError as error:
        raise MissingObjectError(path) from error
    if Content.of_bytes(content) != Content(sha256=file.sha256, size=file.size):
        raise ObjectStoreError(f"{objects.url} holds something else than was pushed as {path}; push it again")
    return content


def read_pointers(objects: Objects, head: Head) -> Pointers:
    """The pointers as a head has them; raises as ``read_file``."""
    if "pointers" not in head.units:
        return Pointers()
    [(path, file)] = head.units["pointers"].items()
    try:
        return Pointers.model_validate_json(read_file(objects, path, file))
    except ValueError as error:
        raise ObjectStoreError(f"the pointers in {objects.url} are damaged; push them again") from error
