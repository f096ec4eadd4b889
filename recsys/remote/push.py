"""Brings what is new in a workspace to a store.

Files are sent first; then one document, the next head, says that they are there. Who finds that number taken
begins again on what the other machine did. What no head names any more is removed last.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from recsys.errors import ObjectStoreError
from recsys.fault_point import reach
from recsys.registry import Registry
from recsys.remote.decide import Differences, unsendable
from recsys.remote.head import File, Head, publish_head, read_head, remove_older_heads
from recsys.remote.kafka_ranges import DOUBLING
from recsys.remote.objects import Objects, Stored, require_create_once
from recsys.remote.own_units import OwnUnits
from recsys.remote.people import own_people, together
from recsys.remote.pull import ALL_PARTS, Forget, Taking, forget_in_files, pruned
from recsys.remote.record import Record, Step, read_record, save_record
from recsys.remote.torn import advice
from recsys.remote.transfer import ChangedFileError, MissingObjectError, upload
from recsys.remote.turns import LogInUseError, turn, wait_for_readers
from recsys.remote.units import Content, Part, Unit, is_of, kind_of
from recsys.workspace import Workspace

UNFINISHED = timedelta(hours=24)
"""Age from which an object that no head names is what a push that was killed has left."""
_OF_PEOPLE = {"log", "users", "lists"}
"""Kinds of units from which an erasure takes somebody."""
_ATTEMPTS = 20
_LOOKS = 3


@dataclass
class Pushed:
    """What a push did."""

    number: int
    """The head's; that of before when there was nothing to say."""
    num_units: int = 0
    """Appends, tables, models and the like that were sent."""
    num_bytes: int = 0
    """Sent."""
    num_removed: int = 0
    """Objects that nothing names any more."""
    num_unclean: int = 0
    """Appends, lists and users tables that are not here as they are there, right after an erasure: nobody
    here could take the person out of them.
    """
    torn: dict[str, str] = field(default_factory=dict)
    """Units that were changed here and there, which stay as they are there, and what to do."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Models that do not verify, appends that are not wholly here, and why."""


def push(
    workspace: Workspace,
    objects: Objects,
    *,
    parts: Collection[Part] = ALL_PARTS,
    forget: Forget | None = None,
    unfinished: timedelta = UNFINISHED,
) -> Pushed:
    """Bring what is new here to a store; another machine's appends, models and erasures stay in it.

    Args:
        workspace: What is brought.
        objects: The store.
        parts: Of what; once somebody was erased, also of whatever the store has with people in it.
        forget: See ``recsys.remote.pull.pull``.
        unfinished: Age from which what no head names is removed; no push may take longer.

    Raises:
        ObjectStoreError: The store cannot be reached, is damaged, or cannot hold off a second push.
        ConfigError: The workspace names the erased by another key.
        DataError: The event log is damaged.
    """
    require_create_once(objects)
    sending = _Sending(workspace, objects, parts, forget or forget_in_files, unfinished)
    attempt = 0
    while attempt < _ATTEMPTS:
        try:
            with turn(workspace):
                if (pushed := sending.attempt()) is not None:
                    return pushed
        except LogInUseError:
            wait_for_readers(workspace)
            continue
        except MissingObjectError:
            pass
        except ChangedFileError:
            if attempt >= _LOOKS:
                raise
        attempt += 1
    raise ObjectStoreError(f"other machines push to {objects.url} all the time; try again")


@dataclass
class _Sending:
    """One push; what it sent counts for the next attempt too."""

    workspace: Workspace
    objects: Objects
    parts: Collection[Part]
    forget: Forget
    unfinished: timedelta
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    """This push's alone: what one that was killed has left is never named, and may go at any time."""
    sent: dict[tuple[str, str], File] = field(default_factory=dict)
    """By path and digest."""

    def attempt(self) -> Pushed | None:
        """Push onto the head that counts now; ``None`` when another machine was faster."""
        head = read_head(self.objects)
        record = read_record(self.workspace, self.objects.url, secrets.token_hex(6)).beside(head.number)
        taking = Taking(self.workspace, self.objects, record, head, self.forget)
        taking.take_people()
        own = OwnUnits(self.workspace, record.marks)
        parts = {*self.parts, "data"} if own_people(self.workspace).tombstones else self.parts
        here = own.look(parts)
        found = self._narrowed(taking.differences(here, parts, sends=True), head)
        joined = [name for name in found.torn if taking.joins(name, here)]
        if found.to_mend or joined:
            taking.take(found.to_mend, here)
            here = own.look(parts)
            found = self._narrowed(taking.differences(here, parts, sends=True), head)
        save_record(self.workspace, record)  # who pushes from here, before anything bears the name
        return self._publish(record, head, here, found, own)

    def _narrowed(self, found: Differences, head: Head) -> Differences:
        """Only the parts that were asked for, and what may have people in it and is in the store already."""

        def is_meant(name: str) -> bool:
            return is_of(name, self.parts) or (name in head.units and kind_of(name) in _OF_PEOPLE)

        return Differences(
            **{one.name: [*filter(is_meant, getattr(found, one.name))] for one in fields(found)}
        )

    def _publish(
        self, record: Record, head: Head, here: Mapping[str, Unit], found: Differences, own: OwnUnits
    ) -> Pushed | None:
        names = self._with_their_models(found.to_send, here, head, own)
        stored = self.objects.list("data")
        push = f"{record.writer}-{self.token}"
        gone = pruned(self.workspace, found.gone_here)
        units = {name: here[name] for name in names}
        lost = _lost(head, here, stored)
        num_bytes = self._send(lost, Head(), stored, push)
        mended = self._mended(head, lost)
        num_bytes += self._send(units, mended, stored, push)
        after = self._next(record, mended, units, gone, stored)
        left_out = own.left_out | unsendable(found, here, head)
        torn = {name: advice(self.objects.url, name) for name in found.torn}
        torn |= {name: DOUBLING for name in found.doubling if name in here}
        pushed = Pushed(head.number, left_out=left_out, torn=torn)
        if not _is_same(head, after):
            reach("remote-sent")
            if not publish_head(self.objects, after):
                return None
            reach("remote-published")
            pushed.number, pushed.num_bytes = after.number, num_bytes
            pushed.num_units = len({*names, *lost})
            pushed.num_unclean = _num_unclean(here, after) if _grew(head, after) else 0
            head = after
        pushed.num_removed = self._remove(head, stored)
        self._remember(record, head, here, names, gone)
        return pushed

    def _with_their_models(
        self, names: list[str], here: Mapping[str, Unit], head: Head, own: OwnUnits
    ) -> list[str]:
        """What is to be sent; pointers only with the models that they name."""
        if "pointers" not in names:
            return names
        for version in Registry(self.workspace.registry).pointers().targets().values():
            if f"bundle/{version}" not in {*here, *head.units}:
                own.left_out.setdefault(version, f"pointers name {version}, which is not here")
                return [name for name in names if name != "pointers"]
        return names

    def _send(self, units: Mapping[str, Unit], head: Head, stored: Mapping[str, Stored], push: str) -> int:
        """Send files of units that the store has not; how many bytes."""
        to_send: dict[str, File] = {}
        fresh = datetime.now(UTC) - self.unfinished / 2
        for name, unit in units.items():
            for path, content in unit.items():
                if _kept(head, name, path, content) is not None:
                    continue
                file = self.sent.get((path, content.sha256)) or File(**content.model_dump(), push=push)
                self.sent[path, content.sha256] = file
                there = stored.get(file.object_name(path))
                if file.size and (there is None or there.size != file.size or there.modified < fresh):
                    to_send[path] = file
        upload(self.objects, to_send, self.workspace.root)
        return sum(file.size for file in to_send.values())

    def _mended(self, head: Head, lost: Mapping[str, Unit]) -> Head:
        """A head with what was sent again in the place of what the store lost."""
        again = {
            name: {path: self.sent[path, content.sha256] for path, content in unit.items()}
            for name, unit in lost.items()
        }
        old = [head.units[name][path].object_name(path) for name, unit in lost.items() for path in unit]
        units = head.units | {name: head.units[name] | files for name, files in again.items()}
        return head.model_copy(update={"units": units, "removed": (*head.removed, *old)})

    def _next(
        self,
        record: Record,
        head: Head,
        changed: Mapping[str, Unit],
        gone: list[str],
        stored: Mapping[str, Stored],
    ) -> Head:
        units = {name: unit for name, unit in head.units.items() if name not in gone}
        for name, unit in changed.items():
            units[name] = {
                path: _kept(head, name, path, content) or self.sent[path, content.sha256]
                for path, content in unit.items()
            }
        people = together(own_people(self.workspace), head.people, record.objections)
        after = Head(number=head.number + 1, units=units, people=people)
        removed = (head.objects() | ({*head.removed} & stored.keys())) - after.objects()
        return after.model_copy(update={"removed": tuple(sorted(removed))})

    def _remove(self, head: Head, stored: Mapping[str, Stored]) -> int:
        """Remove what no head names; what was listed long ago is looked at again first."""
        unnamed = self._unnamed(head, stored)
        if unnamed:
            stored = self.objects.list("data")  # before the head: what is published after it is not listed
            unnamed = self._unnamed(read_head(self.objects), stored)
        self.objects.remove(unnamed)
        remove_older_heads(self.objects, head.number)
        reach("remote-removed")
        return len(unnamed)

    def _unnamed(self, head: Head, stored: Mapping[str, Stored]) -> list[str]:
        """What can go: at once what a head named or was sent here in vain; of others, what is old."""
        named, old = head.objects(), datetime.now(UTC) - self.unfinished
        own = {file.object_name(path) for (path, _), file in self.sent.items()}
        at_once = {*head.removed} | own
        return [
            name
            for name, found in stored.items()
            if name not in named and (name in at_once or found.modified < old)
        ]

    def _remember(
        self, record: Record, head: Head, here: Mapping[str, Unit], names: list[str], gone: list[str]
    ) -> None:
        for name in names:
            record.units[name] = Step(there=head.contents(name), here=dict(here[name]))
        for name, unit in here.items():
            if head.contents(name) == unit:
                record.units[name] = Step(there=unit, here=unit)
        for name in gone:
            record.units.pop(name, None)
        record.objections, record.number = head.people.objections, head.number
        save_record(self.workspace, record)


def _kept(head: Head, name: str, path: str, content: Content) -> File | None:
    """A file as the head has it, if it is the same."""
    old = head.units.get(name, {}).get(path)
    return old if old and (old.sha256, old.size) == (content.sha256, content.size) else None


def _lost(head: Head, here: Mapping[str, Unit], stored: Mapping[str, Stored]) -> dict[str, Unit]:
    """Files that the store should have, and has not or not wholly, and that are here; by unit."""
    found: dict[str, Unit] = {}
    for name, files in head.units.items():
        for path, file in files.items():
            there = stored.get(file.object_name(path))
            if not file.size or (there is not None and there.size == file.size):
                continue
            content = here.get(name, {}).get(path)
            if content is not None and _kept(head, name, path, content) is not None:
                found.setdefault(name, {})[path] = content
    return found


def _num_unclean(here: Mapping[str, Unit], after: Head) -> int:
    return sum(here.get(name) != after.contents(name) for name in after.units if kind_of(name) in _OF_PEOPLE)


def _is_same(head: Head, after: Head) -> bool:
    return head.number > 0 and (head.units, head.people) == (after.units, after.people)


def _grew(head: Head, after: Head) -> bool:
    return len(after.people.tombstones) > len(head.people.tombstones)
