"""Names of what the store holds of every user."""

from collections.abc import Callable


class StateKeys:
    """The keys of one tenant.

    Those of people are ``recsys:<tenant>:<kind>:{<tenant>:<user id>}``: the braces are a hash tag of a
    cluster, so that all keys of one user lie in one slot, and no operation touches two.
    """

    def __init__(self, tenant: str) -> None:
        """Name a tenant's keys."""
        self._tenant, self.prefix = tenant, f"recsys:{tenant}"

    def state(self, user_id: str) -> str:
        """Where a user's state lies."""
        return self._of("u", user_id)

    def marks(self, user_id: str) -> str:
        """Where it lies how far a user's state has come: source to sequence number."""
        return self._of("k", user_id)

    def origin(self, user_id: str) -> str:
        """Where it lies which visitor a user was."""
        return self._of("o", user_id)

    @property
    def loaded(self) -> str:
        """Where it lies what all states were made from."""
        return f"{self.prefix}:loaded"

    def progress(self, source: str) -> str:
        """Where it lies how far all states have come in a source, which may have no name."""
        return f"{self.prefix}:progress" + (f":{source}" if source else "")

    @property
    def patterns(self) -> list[str]:
        """Which keys hold what the states are loaded with, of all users and all sources with a name."""
        return [f"{self.prefix}:{kind}:*" for kind in ("u", "o", "k", "progress")]

    def _of(self, kind: str, user_id: str) -> str:
        return f"{self.prefix}:{kind}:{{{self._tenant}:{user_id}}}"


def person_of(name: Callable[[str], str]) -> Callable[[bytes], str]:
    """The inverse of a method that names the keys of people."""
    start, end = (part.encode() for part in name("\0").split("\0"))
    return lambda key: key.removeprefix(start).removesuffix(end).decode()
