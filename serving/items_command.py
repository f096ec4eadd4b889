"""The verb ``items``: changes and shows the catalogue of a running server."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.errors import ConfigError
from recsys.options import JsonOption

if TYPE_CHECKING:
    from recsys.v1.types_pb2 import Item
    from serving.client import Client

items = typer.Typer(help="The catalogue of a running server: change it, look at it.", no_args_is_help=True)

AddressOption = Annotated[str, typer.Option(help="host:port of a server.")]
IdsArgument = Annotated[list[str], typer.Argument(help="Items.", metavar="ID...")]
_ADDRESS = "127.0.0.1:50051"
_MOST_ITEMS, _MOST_BYTES = 1000, 512 * 1024
_TIMEOUT_SECONDS = 30.0


@items.command("upsert")
def upsert(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON Lines, as for `recsys ingest --items`.")],
    address: AddressOption = _ADDRESS,
    *,
    json_output: JsonOption = False,
) -> None:
    """Add items or replace them whole; bad rows are counted by reason and left out."""
    from recsys.columns import REASON
    from recsys.readers import read_source
    from recsys.validation import check_items
    from serving.responses import item_message

    checked = check_items(read_source(file))
    reasons = dict(checked.rejects[REASON].value_counts(sort=True).iter_rows())
    messages = [item_message(row) for row in checked.accepted.iter_rows(named=True)]
    with _client(address) as client:
        for batch in batches(messages):
            for result in client.upsert_items(batch):
                if result.reason:
                    reasons[result.reason] = reasons.get(result.reason, 0) + 1
    num_rejected = sum(reasons.values())
    num_accepted = checked.accepted.height + checked.rejects.height - num_rejected
    if json_output:
        typer.echo(json.dumps({"accepted": num_accepted, "rejected": num_rejected, "reasons": reasons}))
        return
    typer.echo(f"{num_accepted:,} items accepted, {num_rejected:,} rejected")
    for reason, count in reasons.items():
        typer.echo(f"{count:,}: {reason}", err=True)


@items.command("delete")
def delete(ids: IdsArgument, address: AddressOption = _ADDRESS) -> None:
    """Take items out; they are recommended no more within a second."""
    with _client(address) as client:
        missing = client.delete_items(ids)
    typer.echo(f"{len(set(ids) - set(missing)):,} items deleted, {len(missing):,} were not there")


@items.command("show")
def show(ids: IdsArgument, address: AddressOption = _ADDRESS) -> None:
    """Print items as the server has them, one JSON document a line."""
    from google.protobuf.json_format import MessageToJson

    with _client(address) as client:
        found = client.get_items(ids)
    for item in found.items:
        typer.echo(MessageToJson(item, preserving_proto_field_name=True, indent=None, ensure_ascii=False))
    if found.missing_item_ids:
        raise ConfigError(f"the catalogue does not hold: {', '.join(found.missing_item_ids)}")


def batches(messages: Sequence["Item"]) -> Iterator[list["Item"]]:
    """Groups of items that fit into one call each."""
    batch: list[Item] = []
    size = 0
    for message in messages:
        num_bytes = message.ByteSize()
        if batch and (len(batch) == _MOST_ITEMS or size + num_bytes > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += num_bytes
    if batch:
        yield batch


@contextmanager
def _client(address: str) -> Iterator["Client"]:
    """A client whose refusals are one clear line."""
    import grpc

    from serving.client import Client

    with Client(address, timeout_seconds=_TIMEOUT_SECONDS) as client:
        try:
            yield client
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"
            raise ConfigError(f"{address} refused, {said}; see that `recsys serve` runs there") from error
