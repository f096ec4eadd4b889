"""The part of the AdminService that concern one person's rights: decode, ask, encode."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from recsys.clock import Clock
from recsys.errors import FieldViolation, InvalidRequestError, StoreError
from recsys.schema import MAX_ID_BYTES
from recsys.v1 import admin_service_pb2 as pb
from recsys.workspace import Workspace
from serving.discretion import Discretion
from serving.erasure import Eraser, OnlineEraser
from serving.event import subject
from serving.event_buffer import SqliteEventBuffer
from serving.list_log import ListLog
from serving.personal_data import in_parts, personal_data, remembered
from serving.requests import asker_violations, raise_violations
from serving.state_store import StateStore

_ALWAYS_MS = 2**62


@dataclass(frozen=True, eq=False)
class PrivacyDesk:
    """Erases, exports, and takes objections; one per server process."""

    workspace: Workspace
    buffer: SqliteEventBuffer
    list_log: ListLog
    store: StateStore
    online: OnlineEraser
    discretion: Discretion
    clock: Clock

    async def erase(self, request: pb.EraseUserRequest) -> pb.EraseUserResponse:
        """Erase somebody."""
        who = _subject(request.user_id, request.visitor_id)
        erasure, erased, is_complete = await self.online.erase(who, self.clock.now_ms())
        response = pb.EraseUserResponse(
            receipt_id=erasure.receipt_id,
            num_events=erased.num_events,
            num_lists=erased.num_lists,
            is_complete=is_complete,
            num_trainings=erased.num_trainings,
        )
        response.erased_time.FromMilliseconds(erasure.erased_ms)
        return response

    async def export(self, request: pb.ExportUserRequest) -> AsyncIterator[pb.ExportUserResponse]:
        """Send what is held of somebody."""
        who = _subject(request.user_id, request.visitor_id)
        subjects = await asyncio.to_thread(
            Eraser(self.workspace, self.buffer, self.list_log).subjects_of, who
        )
        lines = personal_data(self.workspace, self.buffer, self.list_log, subjects)
        while part := await in_parts(lines):
            yield pb.ExportUserResponse(lines=part)
        if state := await remembered(self.store, subjects):
            yield pb.ExportUserResponse(lines=state)

    async def set_profiling(self, request: pb.SetProfilingRequest) -> pb.SetProfilingResponse:
        """Take an objection, or take it back."""
        who = _subject(request.user_id, request.visitor_id)
        objections, objects = self.discretion.objections, request.do_not_profile
        await asyncio.to_thread(objections.set, who, objects=objects)
        if objects:
            try:
                await self.store.erase([who], _ALWAYS_MS)
            except StoreError:  # nobody reads it any more, and it expires
                return pb.SetProfilingResponse()
        return pb.SetProfilingResponse()


def _subject(user_id: str, visitor_id: str) -> str:
    """Whom a request names.

    Raises:
        InvalidRequestError: Nobody, or an id that breaks a rule.
    """
    raise_violations(list(asker_violations(user_id, visitor_id, {})))
    found = subject(user_id, visitor_id)
    if found is None:
        problem = f"expected a user_id or a visitor_id of 1 to {MAX_ID_BYTES} bytes, got neither"
        raise InvalidRequestError(FieldViolation("user_id", problem))
    return found
