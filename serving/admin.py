"""``recsys.v1.AdminService``: decode, ask the follower, the registry or a diagnosis, encode."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

import structlog

from recsys.errors import BundleError, FieldViolation, InvalidRequestError
from recsys.promotion import record
from recsys.registry import Entry, Part, Registry
from recsys.schema import MAX_ID_BYTES
from recsys.v1 import admin_service_pb2 as pb
from recsys.workspace import Workspace
from serving.diagnosis import diagnose_item, diagnose_user
from serving.model_follower import ModelFollower
from serving.models import Models
from serving.privacy_servicer import PrivacyDesk
from serving.shadow import Shadow

_log = structlog.get_logger(__name__)

_PARTS: dict[pb.ModelPart.ValueType, Part] = {
    pb.MODEL_PART_STABLE: "stable",
    pb.MODEL_PART_CANARY: "canary",
    pb.MODEL_PART_SHADOW: "shadow",
}
WHO = "admin API"
"""How the record of decisions names this service."""
MAX_REASON_BYTES = 500

_MAX_CONTEXT_ITEMS = 100


class CallContext(Protocol):
    """A gRPC context, of which nothing is read."""


class AdminServicer:
    """``recsys.v1.AdminService``."""

    descriptor = pb.DESCRIPTOR.services_by_name["AdminService"]

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        follower: ModelFollower,
        shadow: Shadow,
        privacy: PrivacyDesk,
    ) -> None:
        self._workspace = workspace
        self._registry = Registry(workspace.registry)
        self._models = models
        self._follower = follower
        self._shadow = shadow
        self._privacy = privacy

    async def ListModels(  # noqa: N802  # the method's name on the wire
        self, _request: pb.ListModelsRequest, _context: CallContext
    ) -> pb.ListModelsResponse:
        """Every version of the registry."""
        entries = await asyncio.to_thread(self._registry.entries)
        lineup, found = self._models.lineup, self._shadow.agreement
        return pb.ListModelsResponse(
            models=[self._model(entry) for entry in entries],
            canary_percent=lineup.canary_percent,
            shadow_agreement=pb.Agreement(
                num_compared=found.num_compared,
                num_dropped=found.num_dropped,
                num_failed=found.num_failed,
                overlap_at_10=found.overlap,
                mean_rank_difference=found.rank_difference,
                mean_score_drift=found.score_drift,
            )
            if lineup.shadow is not None
            else None,
        )

    async def ActivateModel(  # noqa: N802  # the method's name on the wire
        self, request: pb.ActivateModelRequest, _context: CallContext
    ) -> pb.ActivateModelResponse:
        """Load a version, then point at it."""
        started = time.monotonic()
        part = _part(request)
        version, before = request.version or None, self._registry.pointers()
        if version is not None:
            self._registry.require(version)
        try:
            if version is not None:
                await self._follower.prepare(version)
            after = await asyncio.to_thread(
                self._registry.activate,
                part,
                version,
                canary_percent=request.canary_percent if request.HasField("canary_percent") else None,
                expected_stable=request.expected_stable_version or None,
            )
            self._follower.look()
        except BundleError as error:
            await self._record(version or "", part, "refused", str(error), before.stable)
            raise
        finally:
            if version is not None:
                self._follower.release(version)
        verdict, about = ("promoted", version) if version else ("cleared", before.targets().get(part))
        await self._record(about or "", part, verdict, request.reason, before.stable)
        return pb.ActivateModelResponse(stable_version=after.stable or "", seconds=time.monotonic() - started)

    async def RollbackModel(  # noqa: N802  # the method's name on the wire
        self, request: pb.RollbackModelRequest, _context: CallContext
    ) -> pb.RollbackModelResponse:
        """Point at the version before."""
        started = time.monotonic()
        _check_reason(request.reason)
        before = self._registry.pointers()
        target = before.previous
        if target is not None:
            await self._follower.prepare(target)
        try:
            after = await asyncio.to_thread(
                self._registry.rollback, expected_stable=request.expected_stable_version or None
            )
            self._follower.look()
        finally:
            if target is not None:
                self._follower.release(target)
        await self._record(after.stable or "", "stable", "rolled back", request.reason, before.stable)
        return pb.RollbackModelResponse(stable_version=after.stable or "", seconds=time.monotonic() - started)

    async def DiagnoseUser(  # noqa: N802  # the method's name on the wire
        self, request: pb.DiagnoseUserRequest, _context: CallContext
    ) -> pb.DiagnoseUserResponse:
        """Why a user's list is as it is."""
        _require_id("user_id", request.user_id)
        if len(request.context_item_ids) > _MAX_CONTEXT_ITEMS:
            problem = f"expected at most {_MAX_CONTEXT_ITEMS} ids, got {len(request.context_item_ids)}"
            raise InvalidRequestError(FieldViolation("context_item_ids", problem))
        found = await asyncio.to_thread(
            diagnose_user,
            self._workspace,
            request.user_id,
            placement=self._placement(request.placement),
            context_item_ids=tuple(request.context_item_ids),
        )
        return pb.DiagnoseUserResponse(
            model_version=found.model_version, findings=found.findings, report_json=found.to_json()
        )

    async def DiagnoseItem(  # noqa: N802  # the method's name on the wire
        self, request: pb.DiagnoseItemRequest, _context: CallContext
    ) -> pb.DiagnoseItemResponse:
        """Why an item is shown or not."""
        _require_id("item_id", request.item_id)
        if request.user_id:
            _require_id("user_id", request.user_id)
        found = await asyncio.to_thread(
            diagnose_item,
            self._workspace,
            request.item_id,
            user_id=request.user_id or None,
            placement=self._placement(request.placement),
        )
        return pb.DiagnoseItemResponse(
            model_version=found.model_version, findings=found.findings, report_json=found.to_json()
        )

    async def EraseUser(  # noqa: N802  # the method's name on the wire
        self, request: pb.EraseUserRequest, _context: CallContext
    ) -> pb.EraseUserResponse:
        """Erase a person."""
        return await self._privacy.erase(request)

    async def ExportUser(  # noqa: N802  # the method's name on the wire
        self, request: pb.ExportUserRequest, _context: CallContext
    ) -> AsyncIterator[pb.ExportUserResponse]:
        """Send what is held of a person."""
        async for part in self._privacy.export(request):
            yield part

    async def SetProfiling(  # noqa: N802  # the method's name on the wire
        self, request: pb.SetProfilingRequest, _context: CallContext
    ) -> pb.SetProfilingResponse:
        """Say whether a person may be profiled."""
        return await self._privacy.set_profiling(request)

    async def _record(self, version: str, part: Part, verdict: str, reason: str, before: str | None) -> None:
        """Add to the record of decisions; what was decided holds even if that cannot be written."""
        if not version:
            return
        try:
            await asyncio.to_thread(
                record,
                self._registry,
                version,
                part,
                who=WHO,
                verdict=verdict,
                reason=reason,
                previous_version=before,
            )
        except OSError as error:
            _log.error("a decision about a model is not recorded", version=version, reason=str(error))

    def _model(self, entry: Entry) -> pb.Model:
        problem = entry.damage or self._follower.failures.get(entry.version, "")
        state = pb.MODEL_STATE_AVAILABLE
        if self._models.find(entry.version) is not None:
            state = pb.MODEL_STATE_LOADED
        elif entry.version in self._follower.loading:
            state = pb.MODEL_STATE_LOADING
        elif problem:
            state = pb.MODEL_STATE_FAILED
        parts = [pb.ModelPart.Value(f"MODEL_PART_{name.upper()}") for name in entry.pointers]
        return pb.Model(version=entry.version, parts=parts, state=state, problem=problem)

    def _placement(self, name: str) -> str:
        known = self._models.stable.config.placements
        if name and name not in known:
            problem = f"expected one of {', '.join(sorted(known))}, got another name"
            raise InvalidRequestError(FieldViolation("placement", problem))
        return name or "home"


def _part(request: pb.ActivateModelRequest) -> Part:
    """What the version is to become.

    Raises:
        InvalidRequestError: The request breaks a rule.
    """
    part = _PARTS.get(request.part)
    if part is None:
        raise InvalidRequestError(FieldViolation("part", "expected STABLE, CANARY or SHADOW"))
    if part == "stable" and not request.version:
        raise InvalidRequestError(FieldViolation("version", "expected a version to serve, got none"))
    if request.HasField("canary_percent") and not 0 <= request.canary_percent <= 100:
        problem = f"expected 0 to 100, got {request.canary_percent}"
        raise InvalidRequestError(FieldViolation("canary_percent", problem))
    _check_reason(request.reason)
    return part


def _check_reason(reason: str) -> None:
    if (size := len(reason.encode())) > MAX_REASON_BYTES:
        problem = f"expected at most {MAX_REASON_BYTES} bytes of UTF-8, got {size}"
        raise InvalidRequestError(FieldViolation("reason", problem))


def _require_id(field: str, value: str) -> None:
    if not 1 <= len(value.encode()) <= MAX_ID_BYTES:
        problem = f"expected 1 to {MAX_ID_BYTES} bytes of UTF-8, got {len(value.encode())}"
        raise InvalidRequestError(FieldViolation(field, problem))
