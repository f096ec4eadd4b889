"""Brings what is new in a store to a workspace.

First it becomes known who was erased; then files are fetched aside and checked, and the log, the tables, the
models and last the pointers are put into place. A pull that was killed leaves each as it was or as it is to
be, and the next one fetches only what is not there yet.
"""

import json
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from recsys.errors import ConfigError, ObjectStoreError
from recsys.event_log import EventLog
from recsys.fault_point import reach
from recsys.log_adoption import replace
from recsys.log_commit import Commit
from recsys.log_commits import Commits
from recsys.log_erasure import forget_erased
from recsys.registry import Pointers
from recsys.remote.decide import Differences, differences
from recsys.remote.head import Head, read_head
from recsys.remote.incoming import RemovedMeanwhileError, needed
from recsys.remote.kafka_ranges import DOUBLING, doubling
from recsys.remote.log_choice import Chosen, choose_log
from recsys.remote.objects import Objects
from recsys.remote.own_units import LostFileError, OwnUnits
from recsys.remote.people import take_people
from recsys.remote.place import in_order, join_lines, place, remove
from recsys.remote.record import (
    Record,
    Step,
    incoming_directory,
    read_record,
    save_record,
)
from recsys.remote.same_name import with_other_events
from recsys.remote.torn import advice
from recsys.remote.transfer import MissingObjectError, download
from recsys.remote.turns import LogInUseError, turn, wait_for_readers, while_unread
from recsys.remote.units import Part, Unit, kind_of
from recsys.table_sweep import pruned_before, sweep
from recsys.tombstones import Tombstones
from recsys.user_shard import ALL_USERS, UserShard
from recsys.workspace import Workspace

ALL_PARTS: tuple[Part, ...] = ("data", "models")
_ATTEMPTS = 10

Forget = Callable[[Workspace], None]
"""Takes everybody who is erased out of the files of a workspace."""


@dataclass
class Pulled:
    """What a pull did."""

    number: int
    """The head's."""
    num_units: int = 0
    """Appends, tables, models and the like that were taken."""
    num_erased: int = 0
    """Tombstones that were not known here."""
    torn: dict[str, str] = field(default_factory=dict)
    """Units that were changed here and there, which stay as they are here, and what to do."""


def pull(
    workspace: Workspace,
    objects: Objects,
    *,
    parts: Collection[Part] = ALL_PARTS,
    users: UserShard = ALL_USERS,
    pointed: bool = False,
    theirs: bool = False,
    forget: Forget | None = None,
) -> Pulled:
    """Bring what is new in a store.

    Args:
        workspace: Where it is brought to.
        objects: The store.
        parts: Of what.
        users: Of the event log, the files that hold something of these users; of some, no served lists.
        pointed: Of the models, only those that pointers name.
        theirs: Whether what was changed here and there is to be as it is there.
        forget: Called when somebody is erased of whom the workspace knew not; ``forget_in_files`` if absent.

    Raises:
        ObjectStoreError: The store cannot be reached, holds nothing or is damaged.
        ConfigError: The workspace names the erased by another key, or some users' events were asked for, and
            the log in the store is not cut into shards of users.
        DataError: The event log is damaged.
        BundleError: A model does not verify.
    """
    attempt, taking = 0, None
    while attempt < _ATTEMPTS:
        try:
            with turn(workspace):
                taking = _beginning(workspace, objects, parts, users, forget)
                return taking.pull(parts, pointed=pointed, theirs=theirs)
        except LogInUseError:
            wait_for_readers(workspace)
            continue
        except MissingObjectError as error:
            if taking is None:
                raise
            _require_newer(objects, taking.head, error)
        except RemovedMeanwhileError:
            if attempt == _ATTEMPTS - 1:
                raise
        attempt += 1
    raise ObjectStoreError(f"{objects.url} changes faster than it can be read; try again")


def _beginning(
    workspace: Workspace, objects: Objects, parts: Collection[Part], users: UserShard, forget: Forget | None
) -> "Taking":
    record = read_record(workspace, objects.url, secrets.token_hex(6))
    head = read_head(objects)
    if not head.number:
        raise ObjectStoreError(
            f"nothing was pushed to {objects.url} yet; run where there is something: recsys remote push "
            f"{objects.url}"
        )
    record = record.beside(head.number)
    is_same_shard = True
    if "data" in parts:
        _require_shards(objects, head, users)
        is_same_shard = record.users == users
        record.shard, record.num_shards = users.number, users.count
    return Taking(workspace, objects, record, head, forget or forget_in_files, is_same_shard)


def _require_shards(objects: Objects, head: Head, users: UserShard) -> None:
    """Refuse to bring everybody's events to who asked for some users': there may be no room for them."""
    files = [path for name, unit in head.units.items() if kind_of(name) == "log" for path in unit]
    events = [path for path in files if path.startswith("events/day=")]
    if users != ALL_USERS and events and all(UserShard.of_file(path) == ALL_USERS for path in events):
        raise ConfigError(
            f"the event log in {objects.url} is not cut into shards of users, so {users.number}/{users.count}"
            " would bring all of it; on a machine that holds it run: recsys log reshard "
            f"{users.count}, and push; or pull without --shard"
        )


def pruned(workspace: Workspace, gone: Collection[str]) -> list[str]:
    """Which served lists that are gone here were pruned; the others are lost."""
    before = pruned_before(workspace)
    return [name for name in gone if name.removeprefix("lists/day=").partition("/")[0] < before]


def forget_in_files(workspace: Workspace) -> None:
    """Take everybody who is erased out of the event log and the tables."""
    forget_erased(workspace.events)
    sweep(workspace, Tombstones(workspace.root))


@dataclass
class Taking:
    """What one head has, being brought to a workspace; for whoever holds the workspace's lock."""

    workspace: Workspace
    objects: Objects
    record: Record
    head: Head
    forget: Forget
    is_same_shard: bool = True
    """Whether the workspace held the files of the same users so far."""

    def pull(self, parts: Collection[Part], *, pointed: bool, theirs: bool) -> Pulled:
        """Bring what is new; see ``pull``."""
        pulled = Pulled(self.head.number, num_erased=self.take_people())
        own = OwnUnits(self.workspace, self.record.marks)
        here = own.look(parts, but_lost=True)
        found = self.differences(here, parts, sends=theirs)
        names = {*found.to_take, *found.to_mend}
        if theirs:
            names |= {*found.torn}
        else:
            pulled.torn = {
                name: advice(self.objects.url, name) for name in found.torn if not self.joins(name, here)
            }
        pulled.torn |= {name: DOUBLING for name in found.doubling if name not in here}
        if "data" in parts:
            names |= self._recut(here, found)
            names |= {*found.gone_here} - {*pruned(self.workspace, found.gone_here)}
        if self.record.users != ALL_USERS:
            names = {name for name in names if kind_of(name) != "lists"}
        if pointed:
            names = self._without_unpointed(names)
        self._remember_same(here)
        pulled.num_units = self.take(names, here)
        self._forget_what_is_back()
        for name in found.gone_there:
            remove(self.workspace, here[name])
            del self.record.units[name]
        self.record.number = self.head.number
        save_record(self.workspace, self.record)
        shutil.rmtree(incoming_directory(self.workspace), ignore_errors=True)
        return pulled

    def differences(
        self, here: Mapping[str, Unit], parts: Collection[Part], *, sends: bool = False
    ) -> Differences:
        """What is to become of which units; for whoever took the people, so that nobody erased is missed.

        Args:
            here: The workspace's units.
            parts: Of what.
            sends: Whether what changed here alone is compared too: an append may be another one than it was.
        """
        found = differences(self.record, here, self.head, parts)
        unknown = [name for name in found.to_mend if kind_of(name) == "log" and name not in self.record.units]
        changed = [name for name in found.to_send if kind_of(name) == "log" and name in self.head.units]
        compared = [*unknown, *(changed if sends else ())]
        torn = with_other_events(self.workspace, self.objects, self.head, compared, here)
        found.to_send = [name for name in found.to_send if name not in torn]
        found.to_mend = [name for name in found.to_mend if name not in torn]
        found.torn += torn
        found.doubling = doubling(found.to_send, self.head.units) + doubling(found.to_take, here)
        found.to_send = [name for name in found.to_send if name not in found.doubling]
        found.to_take = [name for name in found.to_take if name not in found.doubling]
        return found

    def take_people(self) -> int:
        """Let the workspace know who is erased; how many it did not know. What there is of them goes.

        Of a log that lacks files it goes when they are back.
        """
        before = len(Tombstones(self.workspace.root))
        is_new = take_people(self.workspace, self.objects.url, self.head.people, self.record.objections)
        self.record.objections = self.head.people.objections
        reach("remote-people")
        if (is_new or _is_behind(self.workspace)) and not self._lost():
            self.forget(self.workspace)
        return len(Tombstones(self.workspace.root)) - before

    def take(self, names: Collection[str], here: Mapping[str, Unit]) -> int:
        """Bring units, each seen as a whole; how many were not as they are to be."""
        incoming = incoming_directory(self.workspace)
        logs = [name for name in names if kind_of(name) == "log"]
        others = in_order([name for name in names if kind_of(name) != "log"])
        with needed(incoming):
            chosen = choose_log(
                self.workspace, self.objects, self.head, logs, here, self.record.users, incoming
            )
            chosen = [one for one in chosen if one.here() != here.get(f"log/{one.append}")]
            files = {path: file for one in chosen for path, file in one.files.items()}
            for name in others:
                files |= self.head.units[name]
            download(self.objects, files, incoming)
            reach("remote-fetched")
            self._place_log(chosen, here)
            for name in others:
                if name == "pointers":
                    self._require_models()
                place(self.workspace, self.objects.url, name, self.head.contents(name), here.get(name))
                self.record.units[name] = Step(there=self.head.contents(name), here=self.head.contents(name))
        if {kind_of(name) for name in others} & {"users", "lists"} or chosen:
            self._forget_what_came()
        return len(chosen) + len(others)

    def _place_log(self, chosen: list[Chosen], here: Mapping[str, Unit]) -> None:
        incoming = incoming_directory(self.workspace) / "events"
        commits: dict[str, Commit] = {one.append: one.commit for one in chosen}
        goes = any(here.get(f"log/{one.append}", {}).keys() - one.here().keys() for one in chosen)
        if commits:
            with while_unread(self.workspace) if goes else nullcontext():  # who reads needs what would go
                replace(self.workspace.events, incoming, commits)
        for one in chosen:
            self.record.units[f"log/{one.append}"] = Step(there=one.there, here=one.here())

    def _forget_what_came(self) -> None:
        """What came may be older than a tombstone: of a machine that had not heard of it."""
        tombstones = Tombstones(self.workspace.root)
        if len(tombstones):
            sweep(self.workspace, tombstones)
        if _is_behind(self.workspace) and not self._lost():
            self.forget(self.workspace)

    def _forget_what_is_back(self) -> None:
        if not _is_behind(self.workspace):
            return
        if lost := self._lost():
            raise LostFileError(
                f"{lost[0]} is gone, so who was erased cannot be taken out of the event log, and "
                "this pull brought it not; restore it from a backup"
            )
        self.forget(self.workspace)

    def _lost(self) -> list[Path]:
        commits = Commits(self.workspace.events)
        with commits.lock():
            return commits.lost()

    def _recut(self, here: Mapping[str, Unit], found: Differences) -> set[str]:
        """Appends of which other files may have to be held than are: those of other users, or of visitors."""
        steps = {name: self.record.units.get(name) for name in here if kind_of(name) == "log"}
        unchanged = {name: step for name, step in steps.items() if step and step.here == here[name]}
        if self.record.users != ALL_USERS:
            shared = {name for name in steps if name in self.head.units}
            came = [path for name in found.to_take for path in self.head.units[name]]
            if self.is_same_shard and not any(path.startswith("events/_merges/") for path in came):
                shared = {name for name in shared if self._is_too_much(here[name])}
            return shared - {*found.to_send, *found.partial, *found.torn}
        return {name for name, step in unchanged.items() if not step.is_whole}

    def _is_too_much(self, append: Unit) -> bool:
        """Whether files of other users are held, as of what was appended here; visitors' count as such."""
        users = self.record.users
        return not all(UserShard.of_file(path).shares_users_with(users) for path in append)

    def joins(self, name: str, here: Mapping[str, Unit]) -> bool:
        """Whether both sides' changes could be kept: of decisions, which are lines with a time each."""
        if not name.startswith("record/decisions/"):
            return False
        incoming = incoming_directory(self.workspace)
        [path] = here[name]
        with needed(incoming):
            download(self.objects, self.head.units[name], incoming)
            join_lines(self.workspace, path)
        self.record.units[name] = Step(there=self.head.contents(name), here=self.head.contents(name))
        return True

    def _without_unpointed(self, names: Collection[str]) -> set[str]:
        with needed(incoming_directory(self.workspace)):
            kept = {f"bundle/{version}" for version in self._pointers().targets().values()}
        return {name for name in names if kind_of(name) != "bundle" or name in kept}

    def _pointers(self) -> Pointers:
        if "pointers" not in self.head.units:
            return Pointers()
        [(path, file)] = self.head.units["pointers"].items()
        incoming = incoming_directory(self.workspace)
        download(self.objects, {path: file}, incoming)
        try:
            return Pointers.model_validate(json.loads((incoming / path).read_bytes()))
        except ValueError as error:
            raise ObjectStoreError(f"the pointers in {self.objects.url} are damaged; push them again") from (
                error
            )

    def _require_models(self) -> None:
        for version in self._pointers().targets().values():
            if not (self.workspace.registry / "bundles" / version / "manifest.json").exists():
                raise ObjectStoreError(
                    f"the pointers in {self.objects.url} name {version}, which is not there; push it again"
                )

    def _remember_same(self, here: Mapping[str, Unit]) -> None:
        """What was equal on both sides without anybody having brought it."""
        for name, unit in here.items():
            there = self.head.contents(name)
            if unit == there:
                self.record.units[name] = Step(there=there, here=unit)


def _is_behind(workspace: Workspace) -> bool:
    """Whether an append may hold something of somebody who is erased."""
    num_erasures = len(Tombstones(workspace.root))
    if not num_erasures:
        return False
    return EventLog(workspace.events).is_behind(num_erasures)


def _require_newer(objects: Objects, head: Head, error: MissingObjectError) -> None:
    if read_head(objects).number == head.number:
        raise ObjectStoreError(
            f"{objects.url} lacks {error}, which its head names; push it again from a machine that has it"
        ) from error
