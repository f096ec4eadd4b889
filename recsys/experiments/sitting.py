"""Analyses with a book: earlier looks are read, and this one is kept before anybody sees it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from recsys.errors import ConfigError
from recsys.experiments.audit import now
from recsys.experiments.group_sequential import alpha_spent
from recsys.experiments.inference import is_final
from recsys.experiments.look_book import Look, append_look, read_looks
from recsys.experiments.result import Result
from recsys.experiments.verdict import too_few
from recsys.file_lock import exclusive

_LOCK = ".lock"


def sit(
    analyzed: Callable[[Sequence[Look] | None], Result],
    book: Path | None,
    *,
    since: datetime | None = None,
    data_until: datetime | None = None,
) -> Result:
    """Analyse, given the looks in the book, and add this one if it is one.

    Nobody else adds a look meanwhile: the same look is never taken by two.

    Args:
        analyzed: Makes the result, from the looks so far.
        book: See ``recsys.experiments.look_book``; ``None`` where there is none.
        since: Only looks from this moment on count; ``None`` for all.
        data_until: The end of the data, for the book.

    Raises:
        ConfigError: The book is damaged or cannot be written.
    """
    if book is None:
        return analyzed(None)
    try:
        with exclusive(book.with_name(book.name + _LOCK)):
            past = read_looks(book, since)
            result = analyzed(past)
            look = look_of(result, data_until)
            if look is None:
                return result
            append_look(book, look)
            return replace(result, reading=replace(result.reading, past=(*past, look)))
    except OSError as error:
        raise ConfigError(f"the book of looks {book} cannot be locked: {error}; make it writable") from error


def look_of(result: Result, data_until: datetime | None = None) -> Look | None:
    """The look that a result is; ``None`` where it is none: nothing was tested, or it was too early."""
    experiment, reading, num_units = result.experiment, result.reading, sum(result.units.values())
    analysis = experiment.analysis
    primary = next(each for each in result.metrics if each.metric is experiment.primary)
    tested = [each for each in primary.comparisons if each.p_value is not None]
    if (
        all(too_few(primary, each) for each in tested)
        or result.judgement.verdict == "blocked"
        or reading.settled is not None
    ):
        return None
    if analysis.method == "fixed" and analysis.expected_units is not None:
        is_look = is_final(analysis, num_units)
    else:
        is_look = analysis.method == "fixed" or bool(reading.fractions)
    known = {(look.units, look.data_until) for look in reading.past or ()}
    if not is_look or (num_units, data_until) in known:  # the same data read again are no further look
        return None
    return Look.model_validate(
        {
            "time": now(),
            "data_until": data_until,
            "units": num_units,
            "fraction": min(num_units / analysis.expected_units, 1.0) if analysis.expected_units else None,
            "alpha_spent": _spent(result),
            "bound": ((tested[0].absolute.high or 0.0) - (tested[0].absolute.estimate or 0.0))
            / tested[0].std_error,
            "z": {each.arm: (each.absolute.estimate or 0.0) / each.std_error for each in tested},
            "verdict": result.judgement.verdict,
            "arms": result.judgement.arms,
            "reasons": result.judgement.reasons,
        }
    )


def _spent(result: Result) -> float | None:
    analysis, fractions = result.experiment.analysis, result.reading.fractions
    return alpha_spent(fractions[-1], analysis.alpha, analysis.spending) if fractions else None
