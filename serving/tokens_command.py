"""The verbs ``recsys tokens``."""

from typing import Annotated

import typer

from serving.tokens import Role, TokenConfig, digest, new_token

tokens = typer.Typer(help="Bearer tokens of callers.", no_args_is_help=True)


@tokens.callback()
def _group() -> None:
    pass  # makes `new` a verb of its own although it is the only one


@tokens.command()
def new(
    tenant: Annotated[str, typer.Option(help="The tenant that it belongs to.")] = "default",
    role: Annotated[list[Role] | None, typer.Option(help="What it may do; may be repeated.")] = None,
    name: Annotated[str, typer.Option(help="What people call it.")] = "client",
) -> None:
    """Print a new token, once, and the lines that let it in: append those to the file RECSYS_TOKENS_FILE."""
    token = new_token()
    entry = TokenConfig(
        name=name, sha256=digest(token), tenant=tenant, roles=frozenset(role or (Role.READ, Role.WRITE))
    )
    typer.echo(f"token, not to be seen again: {token}", err=True)
    typer.echo(_toml(entry))


def _toml(entry: TokenConfig) -> str:
    roles = ", ".join(f'"{role}"' for role in sorted(role.value for role in entry.roles))
    return (
        f'[[tokens]]\nname = "{entry.name}"\nsha256 = "{entry.sha256}"\n'
        f'tenant = "{entry.tenant}"\nroles = [{roles}]'
    )
