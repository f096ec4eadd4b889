"""The segment of every shopper who asks for blurbs and names none, by the model that ranks for them.

What the encoder makes of the segments' words is worked out aside, once per model, after somebody has asked;
until then texts are for anybody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np
import structlog
from jaxtyping import Float32

from recsys.blurbs.row import ANYBODY
from recsys.blurbs.segment_choice import SegmentChoice
from recsys.errors import RecsysError
from recsys.live_parts import TextVectors
from recsys.pipeline import Pipeline
from recsys.user_items import Recent
from serving.ranking_pipeline import RankingPipeline

_EVERY_SECONDS = 1.0
_AGAIN_SECONDS = 30.0
_log = structlog.get_logger(__name__)

ReadTexts = Callable[[str, Sequence[str]], Awaitable[Mapping[str, TextVectors]]]
"""Some or all of the vectors of texts, by a model version's encoder."""


class SegmentChoices:
    """Chooses segments; ``choose`` is for any thread, ``run`` for the event loop."""

    def __init__(self, segments: Mapping[str, str]) -> None:
        """Args: ``segments``, the closed list, line by name."""
        self._lines = {name: f"{name} {line}".lower() for name, line in segments.items()}
        self._choices: dict[str, SegmentChoice] = {}
        self._was_asked = False

    def choose(self, version: str, interest: Float32[np.ndarray, " dim"] | None) -> str:
        """The segment of a shopper.

        Args:
            version: Of the model that ranked.
            interest: The shopper's interest vector by it; ``None`` where nothing is known.
        """
        if interest is None:
            return ANYBODY
        self._was_asked = True
        choice = self._choices.get(version)
        return ANYBODY if choice is None else choice.nearest(interest)

    async def run(self, pipelines: Callable[[], Sequence[RankingPipeline]], read: ReadTexts) -> None:
        """Keep up with the models in memory, until cancelled.

        Args:
            pipelines: Those in memory.
            read: The encoders.
        """
        while True:
            wait = _EVERY_SECONDS
            for pipeline in pipelines() if self._was_asked else ():
                try:
                    await self._add(pipeline, read)
                except RecsysError as error:
                    _log.warning("blurbs are for anybody, whoever asks", reason=str(error))
                    wait = _AGAIN_SECONDS
            await asyncio.sleep(wait)

    async def _add(self, pipeline: RankingPipeline, read: ReadTexts) -> None:
        if pipeline.version in self._choices or not isinstance(pipeline, Pipeline):
            return
        found = await read(pipeline.version, list(self._lines.values()))
        if len(found) < len(set(self._lines.values())):  # another process reads them now
            return
        parts = pipeline.bundle.parts
        nobody = parts.interest.vector(parts.index, _nothing())
        self._choices[pipeline.version] = SegmentChoice.of(self._lines, found, nobody)


def _nothing() -> Recent:
    none = np.empty(0, np.int64)
    return Recent(none, np.empty(0, np.uint8), none, none)
