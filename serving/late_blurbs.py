"""Blurbs that were not there when their list was answered, and come within a short while."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from serving.blurb_ask import BlurbAsk
from serving.blurb_list import ListBlurbs, ShownBlurb
from serving.blurb_watch import BlurbWatch
from serving.blurbs import Blurbs
from serving.ranking_pipeline import RankingPipeline

MAX_FOLLOWED: Final = 64
"""Most lists of one process that are waited for; the others end with the list."""
_LOOK_SECONDS: Final = 1.0


class LateBlurbs:
    """Follows lists after they were answered; for the event loop."""

    def __init__(self, blurbs: Blurbs, watch: BlurbWatch, executor: Executor) -> None:
        """Follow none yet.

        Args:
            blurbs: Finds them.
            watch: Tells of changes.
            executor: Where they are read.
        """
        self._blurbs, self._watch, self._executor = blurbs, watch, executor
        self._num_followed = 0

    async def after(
        self, first: ListBlurbs, ask: BlurbAsk | None, pipeline: RankingPipeline, seconds: float
    ) -> AsyncIterator[Mapping[str, ShownBlurb]]:
        """Blurbs that are others than those of the list, as they come.

        Args:
            first: What the list was answered with.
            ask: What was wanted.
            pipeline: Who ranked the list.
            seconds: Longest wait.
        """
        if ask is None or not first.awaited or self._num_followed >= MAX_FOLLOWED:
            return
        until, shown, awaited = time.monotonic() + seconds, dict(first.shown), first.awaited
        self._num_followed += 1
        try:
            while awaited and (left := until - time.monotonic()) > 0:
                await self._watch.change(min(left, _LOOK_SECONDS))
                look = partial(self._blurbs.again, ask, pipeline, awaited, first.segment)
                found = await asyncio.get_running_loop().run_in_executor(self._executor, look)
                news = {item: blurb for item, blurb in found.shown.items() if blurb != shown.get(item)}
                shown, awaited = shown | news, found.awaited
                if news:
                    yield news
        finally:
            self._num_followed -= 1
