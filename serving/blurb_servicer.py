"""``recsys.v1.BlurbService``: decode, ask the domain, encode, and nothing else."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial

import structlog

from recsys.blurbs.row import ANYBODY
from recsys.errors import BlurbError, FieldViolation
from recsys.v1 import blurb_service_pb2 as blurb_pb
from recsys.v1.types_pb2 import View
from serving.blurb_ask import blurb_ask, blurb_violations
from serving.blurb_desk import BlurbDesk
from serving.blurb_list import NO_BLURBS_ASKED
from serving.event import subject
from serving.models import Models
from serving.requests import asker_violations, id_list_violations, raise_violations
from serving.responses import set_blurb
from serving.servicer import CallContext

MAX_ITEMS = 200
"""Most items of one ``BatchGetBlurbs``."""
_BLURB_ID = re.compile(r"[0-9a-f]{32}")
_log = structlog.get_logger(__name__)


class BlurbServicer:
    """Serves one desk."""

    descriptor = blurb_pb.DESCRIPTOR.services_by_name["BlurbService"]

    def __init__(self, desk: BlurbDesk, models: Models, executor: Executor) -> None:
        """Serve.

        Args:
            desk: Whose blurbs.
            models: Whose catalogue, and facts.
            executor: Where blurbs are read.
        """
        self._desk, self._models, self._executor = desk, models, executor

    async def BatchGetBlurbs(  # noqa: N802  # the method's name on the wire
        self, request: blurb_pb.BatchGetBlurbsRequest, _: CallContext
    ) -> blurb_pb.BatchGetBlurbsResponse:
        """Return blurbs of items."""
        raise_violations(list(self._violations(request)))
        pipeline = self._models.stable
        wanted = dict.fromkeys(request.item_ids)
        known = [item_id for item_id in wanted if pipeline.knows_item(item_id)]
        with_facts = request.view == View.VIEW_FULL
        ask, found = blurb_ask(request.options, self._desk.config, with_facts=with_facts), NO_BLURBS_ASKED
        if ask is not None:
            read = partial(self._desk.blurbs.of_items, ask, pipeline, known, ask.segment or ANYBODY)
            found = await asyncio.get_running_loop().run_in_executor(self._executor, read)
        missing = wanted.keys() - set(known)
        response = blurb_pb.BatchGetBlurbsResponse(missing_item_ids=[i for i in wanted if i in missing])
        for item_id in known:
            message = response.blurbs.add(item_id=item_id)
            if item_id in found.shown:
                set_blurb(message.blurb, found.shown[item_id])
        return response

    async def ReportBlurb(  # noqa: N802  # the method's name on the wire
        self, request: blurb_pb.ReportBlurbRequest, _: CallContext
    ) -> blurb_pb.ReportBlurbResponse:
        """Take a report."""
        raise_violations(list(_report_violations(request)))
        reporter = subject(request.user_id, request.visitor_id) or ""
        counts, hidden = await self._desk.reports.add(request.blurb_id, reporter)
        if hidden:  # also when it was before: the book may not have known
            await self._hold_back(request)
        return blurb_pb.ReportBlurbResponse(duplicate=not counts, hidden=hidden)

    async def _hold_back(self, request: blurb_pb.ReportBlurbRequest) -> None:
        reason = blurb_pb.BlurbReportReason.Name(request.reason)
        _log.warning("a blurb was reported and is hidden", reason=reason)
        await self._desk.watch.look()
        try:
            await asyncio.to_thread(self._desk.hold_back, request.blurb_id, reason)
        except BlurbError as error:  # it is hidden all the same
            _log.warning("the book does not know of a reported blurb", reason=str(error))

    def _violations(self, request: blurb_pb.BatchGetBlurbsRequest) -> Iterator[FieldViolation]:
        if not request.item_ids:
            yield FieldViolation("item_ids", f"expected 1 to {MAX_ITEMS} ids, got none")
        yield from id_list_violations("item_ids", request.item_ids, MAX_ITEMS)
        yield from blurb_violations(request.options, self._desk.config, "options")
        if request.view not in View.values():
            yield FieldViolation("view", f"expected one of {', '.join(View.keys())}, got {request.view}")


def _report_violations(request: blurb_pb.ReportBlurbRequest) -> Iterator[FieldViolation]:
    if not _BLURB_ID.fullmatch(request.blurb_id):
        problem = f"expected 32 hexadecimal digits, got {request.blurb_id[:40]!r}"
        yield FieldViolation("blurb_id", problem)
    if not (request.user_id or request.visitor_id):
        yield FieldViolation("user_id", "expected a user_id or a visitor_id, got neither")
    yield from asker_violations(request.user_id, request.visitor_id, {})
    reasons = blurb_pb.BlurbReportReason
    if request.reason not in reasons.values():
        yield FieldViolation("reason", f"expected one of {', '.join(reasons.keys())}, got {request.reason}")
