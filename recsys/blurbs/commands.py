"""The verb ``blurbs``: its commands lie in modules of their own, one noun each."""

import typer

from recsys.blurbs.check_command import check
from recsys.blurbs.generate_command import generate
from recsys.blurbs.revoke_command import off, on, revoke

blurbs = typer.Typer(
    help="Short texts beside recommended items: made beforehand, checked, published.", no_args_is_help=True
)
blurbs.command("generate")(generate)
blurbs.command("check")(check)
blurbs.command("revoke")(revoke)
blurbs.command("off")(off)
blurbs.command("on")(on)
