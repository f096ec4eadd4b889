"""``recsys experiment``: what operators do with experiments. A verb parses, makes one call and prints."""

import json
from pathlib import Path
from typing import Annotated

import typer

from recsys.experiments.definition import load_experiment
from recsys.experiments.offline_commands import evaluate_from_log, interleave_files
from recsys.options import JsonOption

experiment = typer.Typer(help="Define experiments, watch them and read their results.", no_args_is_help=True)


@experiment.command("validate")
def validate(
    definition: Annotated[Path, typer.Argument(help="The definition, a TOML file.")],
    *,
    json_output: JsonOption = False,
) -> None:
    """Say whether a definition can be read."""
    defined = load_experiment(definition)
    if json_output:
        typer.echo(json.dumps({"key": defined.key, "fingerprint": defined.fingerprint}))
    else:
        typer.echo(f"{defined.key}: sound")


experiment.command("evaluate-offline")(evaluate_from_log)
experiment.command("interleave")(interleave_files)
