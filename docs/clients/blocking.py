"""Shows a list and records a click: ``python blocking.py [ADDRESS] [USER]``."""

import sys
import uuid

import grpc

from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client, Connection


def main(address: str = "127.0.0.1:50051", user_id: str = "1") -> None:
    """Print the list, and what became of the click."""
    connection = Connection(address, timeout_seconds=1.0)  # token=, tls_ca= where the server asks for them
    with Client(connection) as client:
        try:
            answer = client.recommend(RecommendRequest(user_id=user_id, page_size=5))
        except grpc.RpcError as error:  # show your own bestsellers: no page waits for recommendations
            sys.exit(f"no recommendations: {error.code().name}")
        for result in answer.results:
            sys.stdout.write(f"{result.item_id} {result.score:.2f}\n")
        if answer.results:
            click = Event(event_id=uuid.uuid4().hex, event_type="click", user_id=user_id)
            click.item_id = answer.results[0].item_id
            click.event_time.GetCurrentTime()  # with an id and a time of its own, it can be sent again
            [recorded] = client.record_events([click])
            sys.stdout.write(f"{EventStatus.Name(recorded.status)} {recorded.reason}\n")


main(*sys.argv[1:])
