"""What makes two blurbs the same: the key of a request, and the name of a text."""

import hashlib
import json

from recsys.blurbs.row import BlurbSlot


def blurb_key(
    slot: BlurbSlot, *, facts_hash: str, prompt_version: str, model: str, decoding: str, gate_version: str
) -> str:
    """SHA-256, hexadecimal, of everything that a text depends on.

    Args:
        slot: Item, segment, language, length class and policy: arms of an experiment keep their texts apart.
        facts_hash: ``Facts.content_hash`` of the facts that the backend is shown.
        prompt_version: See ``recsys.blurbs.prompt``.
        model: Model and revision, ``name@revision``.
        decoding: How tokens are drawn.
        gate_version: Version of the checks and their lexicons.
    """
    parts = (
        slot.item_id,
        facts_hash,
        slot.segment,
        slot.language,
        slot.length,
        slot.policy,
        prompt_version,
        model,
        decoding,
        gate_version,
    )
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def blurb_id(key: str, text: str) -> str:
    """The name of a text made for a key: 32 hexadecimal digits. An edited text has another one."""
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:32]
