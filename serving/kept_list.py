"""What follows the first page of a list, as it is kept for the later ones: small, and without the model."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
from jaxtyping import Float64, UInt32

from recsys.answer import RankedItem, RankedList, ServiceLevel
from recsys.candidates import source_names
from recsys.errors import StoreError
from recsys.experiments.arm_record import NO_ARMS, ArmRecord

_VERSION = 5  # also of the meaning of the bits of ``sources``
_HEADER = struct.Struct("<BxHII")  # version, items, description bytes, id bytes


@dataclass(frozen=True, eq=False)
class KeptList:
    """Items in order, and what the first page said of all of them."""

    item_ids: Sequence[str]
    scores: Float64[np.ndarray, " items"]
    sources: UInt32[np.ndarray, " items"]
    model_version: str
    service_level: ServiceLevel
    degraded_reasons: tuple[str, ...] = ()
    missing_item_ids: tuple[str, ...] = ()
    record: ArmRecord = NO_ARMS
    propensity: Mapping[int, float] = field(default_factory=dict)
    """By row, where it is not 1."""
    policy: str = ""
    segment: str = ""
    """Whom the blurbs of the first page may speak to, see ``serving.blurbs``."""

    def to_bytes(self) -> bytes:
        """Some 20 bytes per item; the inverse of ``from_bytes``."""
        described = [
            self.model_version,
            self.service_level.value,
            self.degraded_reasons,
            self.missing_item_ids,
            astuple(self.record),
            list(self.propensity.items()),
            self.policy,
            self.segment,
        ]
        description, ids = json.dumps(described).encode(), "".join(self.item_ids).encode()
        lengths = np.fromiter(map(len, self.item_ids), "<u2", len(self.item_ids))
        return b"".join(
            (
                _HEADER.pack(_VERSION, len(self.item_ids), len(description), len(ids)),
                description,
                lengths.tobytes(),
                ids,
                self.scores.astype("<f8", copy=False).tobytes(),
                self.sources.astype("<u4", copy=False).tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> "KeptList":
        """Read what ``to_bytes`` wrote.

        Raises:
            StoreError: The bytes are cut short or of another version.
        """
        try:
            version, num_items, description_bytes, id_bytes = _HEADER.unpack_from(raw)
        except struct.error as error:
            raise StoreError(f"a kept list of {len(raw)} bytes is shorter than its header") from error
        at = _HEADER.size + description_bytes
        if version != _VERSION or len(raw) != at + num_items * 14 + id_bytes:
            raise StoreError(f"a kept list has version {version} or is cut short")
        try:
            return cls._decoded(raw, num_items, at, id_bytes)
        except (ValueError, TypeError) as error:  # what stands under the key is not ours
            raise StoreError(f"a kept list of {len(raw)} bytes cannot be read") from error

    @classmethod
    def _decoded(cls, raw: bytes, num_items: int, at: int, id_bytes: int) -> "KeptList":
        described = json.loads(raw[_HEADER.size : at])
        version_, level, reasons, missing, (arms, *about_arms), propensity, policy, segment = described
        lengths = np.frombuffer(raw, "<u2", num_items, at)
        at += 2 * num_items
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        text = raw[at : at + id_bytes].decode()
        at += id_bytes
        return cls(
            item_ids=[text[start:end] for start, end in zip([0, *ends][:-1], ends, strict=True)],
            scores=np.frombuffer(raw, "<f8", num_items, at),
            sources=np.frombuffer(raw, "<u4", num_items, at + 8 * num_items),
            model_version=version_,
            service_level=ServiceLevel(level),
            degraded_reasons=tuple(reasons),
            missing_item_ids=tuple(missing),
            record=ArmRecord(
                tuple((experiment, arm) for experiment, arm in arms), *(tuple(each) for each in about_arms)
            ),
            propensity=dict(propensity),
            policy=policy,
            segment=segment,
        )

    def ranked(self, rows: Sequence[int]) -> RankedList:
        """Some of the items as an answer, in the order of ``rows``."""
        return RankedList(
            items=tuple(
                RankedItem(
                    self.item_ids[row],
                    float(self.scores[row]),
                    source_names(int(self.sources[row])),
                    propensity=self.propensity.get(row, 1.0),
                )
                for row in rows
            ),
            service_level=self.service_level,
            model_version=self.model_version,
            degraded_reasons=self.degraded_reasons,
            missing_item_ids=self.missing_item_ids,
            policy=self.policy,
        )


def kept_list(ranked: RankedList, record: ArmRecord = NO_ARMS, segment: str = "") -> KeptList | None:
    """What is to be kept of a first page's list; ``None`` when nothing follows it."""
    if ranked.rest is None:
        return None
    return KeptList(
        ranked.rest.item_ids,
        ranked.rest.scores,
        ranked.rest.sources,
        ranked.model_version,
        ranked.service_level,
        ranked.degraded_reasons,
        ranked.missing_item_ids,
        record,
        propensity=ranked.rest.propensity,
        policy=ranked.policy,
        segment=segment,
    )
