"""Progress on stderr: a bar on a terminal, one closing line anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int], None]
"""Moves the bar on by that many steps."""


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Show how far a piece of work has come, and yield the function that moves the bar on.

    Standard output stays free for results. When the work ends in an exception, no closing line claims that it
    was done.

    Args:
        description: What is being done, without a full stop.
        total: Number of steps, or ``None`` when it is not known.
    """
    console = Console(stderr=True)
    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else (BarColumn(),)
    columns = (TextColumn("{task.description}", markup=False), *counted, TimeElapsedColumn())
    started = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)
        bar.update(task, total=total if total is not None else 1, completed=total if total is not None else 1)
    if not console.is_terminal:
        console.print(f"{description}: {time.monotonic() - started:.1f} s", markup=False, highlight=False)
