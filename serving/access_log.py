"""The access log: one line per call, without ids of users or items and without texts."""

import random

import structlog

from serving.call import Call

_log = structlog.get_logger(__name__)


class AccessLog:
    """Logs calls that have ended: all that failed, and a share of those that did not."""

    def __init__(self, sample: float = 1.0) -> None:
        """Log a share of the calls.

        Args:
            sample: Share of the successful calls to log, 0 to 1.
        """
        self._sample = sample

    def __call__(self, call: Call) -> None:
        """Log one call, unless it is left out by chance."""
        if call.status == "OK" and self._sample < 1 and random.random() >= self._sample:
            return
        fields: dict[str, object] = {
            "request_id": call.request_id,
            "method": call.method,
            "status": call.status,
            "duration_ms": round((call.ended - call.started) * 1000, 2),
        }
        answer = call.answer
        if answer is not None:
            fields |= {
                "placement": call.placement,
                "service_level": answer.service_level.value,
                "model_version": answer.model_version,
            }
            if call.is_later_page:
                fields["is_later_page"] = True
            else:
                fields["num_candidates"] = answer.num_candidates
            if answer.degraded_reasons:
                fields["degraded_reasons"] = answer.degraded_reasons
        if call.outcomes:
            fields["events"] = dict(call.outcomes)
        _log.info("call", **fields)
