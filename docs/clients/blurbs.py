"""Shows a list with a line about every item: ``python blurbs.py [ADDRESS] [USER]``."""

import sys

from recsys.v1.recommendation_service_pb2 import RecommendRequest, StreamRecommendRequest
from recsys.v1.types_pb2 import Blurb, BlurbOptions
from serving.client import Client


def main(address: str = "127.0.0.1:50051", user_id: str = "1") -> None:
    """Print the list at once, and lines that come late."""
    options = BlurbOptions(enabled=True, language_codes=["de", "en", "*"], max_chars=80)
    request = RecommendRequest(user_id=user_id, page_size=5, blurbs=options)
    with Client(address, timeout_seconds=1.0) as client:
        for answer in client.stream_recommend(StreamRecommendRequest(request=request, wait_ms=500)):
            for result in answer.list.results:
                show(result.item_id, result.blurb)
            for late in answer.late_blurbs.blurbs:
                show(late.item_id, late.blurb)


def show(item_id: str, blurb: Blurb) -> None:
    """Print one line; a shop has its own words for what a model wrote."""
    by_a_model = f" ({blurb.disclosure_key})" if blurb.ai_generated else ""
    sys.stdout.write(f"{item_id}: {blurb.text}{by_a_model}\n")


main(*sys.argv[1:])
