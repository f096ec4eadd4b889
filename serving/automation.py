"""Tells the events of machines, so that they count for nobody: the hook for a shop's bot detection.

The caller of ``RecordEvents`` says so in the call's metadata: its own verdict in ``AUTOMATED``, or the user
agent of the shopper's browser in ``USER_AGENT``, which is held against a pattern. Who lies in the user agent
is left to the limits of ``recsys.influence``.
"""

import re

from recsys.errors import ConfigError
from serving.call import current_call

AUTOMATED = "x-recsys-automated"
"""Metadata key: ``true`` where the shop's edge takes the shopper for a machine."""
USER_AGENT = "x-recsys-user-agent"
"""Metadata key: the ``User-Agent`` header of the shopper's request."""


class AutomationSign:
    """Looks at the running call."""

    def __init__(self, agents: str) -> None:
        """Look.

        Args:
            agents: A regular expression found, in any case, in the user agents of machines; empty for none.

        Raises:
            ConfigError: It is none.
        """
        try:
            self._agents = re.compile(agents, re.IGNORECASE) if agents else None
        except re.error as error:
            raise ConfigError(
                f"RECSYS_AUTOMATED_AGENTS: expected a regular expression, got {agents!r}: {error}"
            ) from error

    def is_seen(self) -> bool:
        """Whether the running call brings what a machine did; not so outside of calls."""
        call = current_call.get()
        if call is None:
            return False
        said = {key: value for key, value in call.metadata if key in {AUTOMATED, USER_AGENT}}
        if str(said.get(AUTOMATED, "")).lower() in {"1", "true", "yes"}:
            return True
        agent = said.get(USER_AGENT)
        return self._agents is not None and isinstance(agent, str) and bool(self._agents.search(agent))
