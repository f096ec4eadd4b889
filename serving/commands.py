"""The verbs of this package."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, EngineOption, JsonOption, WorkspaceOption, time_ms
from recsys.schema import LIST_ID
from recsys.workspace import Workspace, atomic_path

AtOption = Annotated[
    str | None, typer.Option("--at", help="As of when, ISO 8601; the end of the log when absent.")
]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share the port.")] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="RESP server or cluster; default: an embedded server.")
    ] = None,
    clock: Annotated[
        Literal["wall", "replay"] | None, typer.Option(help="replay goes on from the end of the log.")
    ] = None,
    *,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM certificate chain; with --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM key of the certificate.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM authorities; clients must show a certificate.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Answer Recommend and Rank and take events in, until SIGTERM or Ctrl-C.

    Flags win over the environment variables that ``serving.settings`` lists.
    """
    from serving.settings import load_settings
    from serving.supervisor import supervise
    from serving.worker import serve_alone

    settings = load_settings(
        host=host,
        port=port,
        workers=workers,
        redis_url=redis,
        clock=clock,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
    )

    def announce(bound_port: int) -> None:
        typer.echo(f"listening on {settings.host}:{bound_port}")
        typer.echo("ready")

    (supervise if settings.workers > 1 else serve_alone)(Workspace(workspace), settings, announce)


def recommend(
    user: Annotated[list[str] | None, typer.Option(help="A user; may be repeated.")] = None,
    users: Annotated[
        Path | None, typer.Option(help="Parquet or CSV: user_id[, query_id, event_time, context_item_ids].")
    ] = None,
    at: AtOption = None,
    *,
    placement: Annotated[str, typer.Option(help="Which list to make.")] = "home",
    query: Annotated[str, typer.Option(help="What it is to be about, such as 'gluten free bread'.")] = "",
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For rules, as country=NL; may be repeated.")
    ] = None,
    context: Annotated[list[str] | None, typer.Option(help="A context item; may be repeated.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Items per user.")] = 10,
    novel: Annotated[bool, typer.Option("--novel", help="Leave out what the user had before.")] = False,
    item_filter: Annotated[
        str, typer.Option("--filter", help="What items must be like, such as 'price < 5 AND brand:acme'.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Parquet file to write instead of printing.")] = None,
    engine: EngineOption = "local",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Recommend items to users, with the pipeline that the server runs."""
    from recsys.runner import runner
    from serving.batch import read_queries, recommend_in_shards, recommend_queries, single_queries

    if user is not None and users is not None:
        raise ConfigError("say who to recommend to either with --user ID or with --users FILE")
    queries = read_queries(users) if users is not None else single_queries(user or [""], context or [])
    answer = partial(
        recommend_queries,
        placement=placement,
        limit=k,
        novel=novel,
        item_filter=item_filter,
        words=query,
        attributes=_attributes(attribute or []),
        explain=output is None,
    )
    place, at_ms = Workspace(workspace), time_ms(at, "--at") if at is not None else None
    if engine == "local":
        found = answer(place, queries, at_ms=at_ms)
    else:
        found = recommend_in_shards(runner(engine), place, queries, answer, at_ms=at_ms)
    if output is not None:
        found.write(output)
    elif json_output:
        typer.echo(found.to_json())
    else:
        Console().print(found.table())
        for remark in found.remarks():
            typer.echo(remark, err=True)


def rank(
    lists: Annotated[
        Path, typer.Option(help="Parquet or CSV: list_id, user_id, item_id[, position, event_time].")
    ],
    output: Annotated[Path, typer.Option(help="Parquet file to write: list_id, item_id, score.")],
    at: AtOption = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Score the items of given lists, with the pipeline that the server runs."""
    from serving.batch import rank_lists, read_lists

    at_ms = time_ms(at, "--at") if at is not None else None
    scored = rank_lists(Workspace(workspace), read_lists(lists), at_ms=at_ms)
    with atomic_path(output) as partial:
        scored.write_parquet(partial)
    num_lists = scored[LIST_ID].n_unique()
    if json_output:
        typer.echo(json.dumps({"lists": num_lists, "items": scored.height, "output": str(output)}))
    else:
        typer.echo(f"{scored.height:,} items of {num_lists:,} lists: {output}")


def _attributes(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    for pair, (key, equals, _) in zip(pairs, split, strict=True):
        if not key or not equals:
            raise ConfigError(f"--attribute takes KEY=VALUE, such as country=NL, got {pair!r}")
    return {key: value for key, _, value in split}
