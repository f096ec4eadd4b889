"""Where ids of people become pseudonyms: in every request, before anything is stored, logged or compared."""

from google.protobuf.message import Message

from recsys.pseudonyms import Pseudonyms


class PseudonymEdge:
    """Replaces every ``user_id`` and ``visitor_id`` of a request, also in those that it holds."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms

    def __call__(self, request: Message) -> None:
        """Replace the ids in place; empty ones stay empty, and ids that the wire refuses stay refused."""
        for field, value in request.ListFields():
            if field.name in {"user_id", "visitor_id"}:
                setattr(request, field.name, self._pseudonyms.of(value))
            elif field.name == "events":
                for event in value:
                    self(event)
            elif field.name == "request":
                self(value)
