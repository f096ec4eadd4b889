"""Takes models that nobody needs any more out of a store; machines that have them keep them.

A model goes when no pointer and no experiment names it, when others are newer, and when it was pushed long
ago: one that was pushed just now may be about to be promoted. A machine that is about to send pointers to a
model that goes finds the head's number taken, and sends the model again.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from recsys.errors import ObjectStoreError
from recsys.remote.head import Head, publish_head, read_head, remove_older_heads
from recsys.remote.objects import Objects, Stored, require_create_once
from recsys.remote.pointed import read_file, read_pointers
from recsys.remote.transfer import MissingObjectError
from recsys.remote.units import kind_of

LEAST_AGE: Final = timedelta(days=1)
"""No push takes longer, see ``recsys.remote.push.UNFINISHED``."""
_BUNDLES = "data/registry/bundles"
_ATTEMPTS = 20


@dataclass(frozen=True)
class StoredModel:
    """A model in a store."""

    version: str
    pushed: datetime
    """When its youngest file was, UTC."""
    num_bytes: int


@dataclass
class Pruned:
    """What a pruning did, or would do."""

    number: int
    """The head's."""
    models: list[StoredModel] = field(default_factory=list)
    """Those that go, oldest first."""
    num_kept: int = 0
    """Models that stay."""


def prune(objects: Objects, *, keep: int, min_age: timedelta, is_meant: bool) -> Pruned:
    """Take old models out of a store.

    Args:
        objects: The store.
        keep: How many of the newest stay, whoever names them; at least 1.
        min_age: How long ago a model has to have been pushed; at least ``LEAST_AGE``.
        is_meant: Whether they go; else it is only said which would.

    Raises:
        ObjectStoreError: The store cannot be reached, holds nothing or is damaged.
        ValueError: Fewer or younger ones were to be kept than that.
    """
    if keep < 1 or min_age < LEAST_AGE:
        raise ValueError(f"expected to keep 1 or more and an age of {LEAST_AGE} or more")
    if is_meant:
        require_create_once(objects)
    for _ in range(_ATTEMPTS):
        head = read_head(objects)
        if not head.number:
            raise ObjectStoreError(f"nothing was pushed to {objects.url} yet, so there is nothing to prune")
        try:
            pruned = _chosen(objects, head, keep, min_age)
        except MissingObjectError as error:
            if read_head(objects).number == head.number:
                raise ObjectStoreError(f"{objects.url} lacks {error}; push it again") from error
            continue
        if not is_meant or not pruned.models or _published(objects, head, pruned):
            return pruned
    raise ObjectStoreError(f"other machines push to {objects.url} all the time; try again")


def _chosen(objects: Objects, head: Head, keep: int, min_age: timedelta) -> Pruned:
    models = _models(head, objects.list(_BUNDLES))
    named = _named(objects, head, [model.version for model in models])
    old = datetime.now(UTC) - min_age
    older = models[: max(len(models) - keep, 0)]
    going = [model for model in older if model.version not in named and model.pushed < old]
    return Pruned(head.number, going, len(models) - len(going))


def _models(head: Head, stored: dict[str, Stored]) -> list[StoredModel]:
    """The models of a head, by age, oldest first; one of which an object is gone counts as new."""
    now = datetime.now(UTC)
    found = []
    for name, files in head.units.items():
        if kind_of(name) != "bundle":
            continue
        objects = [stored.get(file.object_name(path)) for path, file in files.items() if file.size]
        pushed = max((one.modified if one else now for one in objects), default=now)
        found.append(StoredModel(name.partition("/")[2], pushed, sum(file.size for file in files.values())))
    return sorted(found, key=lambda model: (model.pushed, model.version))


def _named(objects: Objects, head: Head, versions: list[str]) -> set[str]:
    """Those that pointers name, or a definition of an experiment, whether or not it runs."""
    texts = [
        read_file(objects, path, file).decode(errors="replace")
        for name, files in head.units.items()
        if name.startswith("record/experiments/") and name.endswith(".toml")
        for path, file in files.items()
    ]
    named = {version for version in versions if any(version in text for text in texts)}
    return named | {*read_pointers(objects, head).targets().values()}


def _published(objects: Objects, head: Head, pruned: Pruned) -> bool:
    """Let a head without them count, then remove their files; ``False`` when somebody else was faster."""
    gone = {f"bundle/{model.version}" for model in pruned.models}
    units = {name: files for name, files in head.units.items() if name not in gone}
    after = head.model_copy(update={"number": head.number + 1, "units": units})
    removed = (head.objects() | {*head.removed}) - after.objects()
    after = after.model_copy(update={"removed": tuple(sorted(removed))})
    if not publish_head(objects, after):
        return False
    pruned.number = after.number
    objects.remove(sorted(removed - read_head(objects).objects()))
    remove_older_heads(objects, after.number)
    return True
