"""Asks for several lists at once: ``python asynchronous.py [ADDRESS] [USER]``."""

import asyncio
import sys

from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import AsyncClient


async def main(address: str = "127.0.0.1:50051", user_id: str = "1") -> None:
    """Print what a page shows."""
    async with AsyncClient(address, timeout_seconds=1.0) as client:
        home = await client.recommend(RecommendRequest(user_id=user_id, page_size=5))
        items = [result.item_id for result in home.results]
        pages = (
            RecommendRequest(placement="similar_items", context_item_ids=[item_id], page_size=3)
            for item_id in items
        )
        for item_id, page in zip(items, await asyncio.gather(*map(client.recommend, pages)), strict=True):
            sys.stdout.write(f"{item_id}: {' '.join(result.item_id for result in page.results)}\n")


asyncio.run(main(*sys.argv[1:]))
