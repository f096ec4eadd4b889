"""What a server refuses a caller for, beyond ``recsys.errors``.

::

    AccessError
    ├── UnauthenticatedError   no token, or one that nobody knows
    ├── ForbiddenError         a known token without the right to the method, or of another tenant
    └── QuotaError             a known token that asks too often

    OverloadError              more is asked than can be answered in time, of whomever
"""

from recsys.errors import RecsysError


class AccessError(RecsysError):
    """A caller is not let through."""


class UnauthenticatedError(AccessError):
    """A caller sent no token, or one that nobody knows."""


class ForbiddenError(AccessError):
    """A caller has no right to what it asks for."""


class QuotaError(AccessError):
    """A caller asks more often than its quota allows."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"the quota allows the next call in {retry_after_seconds:.3f} s")
        self.retry_after_seconds = retry_after_seconds


class OverloadError(RecsysError):
    """There is more to do than can be done in time."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"the next call may come in {retry_after_seconds:g} s")
        self.retry_after_seconds = retry_after_seconds
