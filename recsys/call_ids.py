"""Ids of calls that clients repeat: lists that were served for one id are attempts of one call.

Other request ids say nothing of the kind: a shop may give one to all calls of a page.
"""

import uuid

REQUEST_ID = "x-request-id"
"""Name of the metadata that tell a call from others, in the servers' log too."""
CALL_ID_PREFIX = "call-"
"""With this begins, in ``x-request-id``, the id of one call of one list, the same in all of its attempts."""


def new_call_id() -> str:
    """An id that no other call has."""
    return CALL_ID_PREFIX + uuid.uuid4().hex
