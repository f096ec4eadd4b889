"""A person at the terminal: case after case, each decided and written down before the next one is shown."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import typer
from rich.console import Console

from recsys.blurbs.entry import Entry
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.review.card import card, marked, reasons_table
from recsys.blurbs.review.case import Case
from recsys.blurbs.review.desk import Desk
from recsys.blurbs.review.judgement import REASONS
from recsys.blurbs.review.terms import Terms
from recsys.errors import BlurbError, ConfigError

_KEYS: Final = "[a]pprove [e]dit [r]eject [b]lock item [t]erm [s]kip [q]uit"


class Session:
    """Goes through cases with one reviewer."""

    def __init__(self, desk: Desk, lexicons: Lexicons, terms: Terms, console: Console) -> None:
        self.num_decided: Counter[str] = Counter()
        """Decisions so far, by what they were."""
        self._desk, self._lexicons, self._terms, self._console = desk, lexicons, terms, console
        self._actions: dict[str, Callable[[Case], Entry | None]] = {
            "a": self._approve,
            "e": self._edit,
            "r": self._reject,
            "b": self._block,
            "t": self._term,
        }

    def over(self, cases: list[Case]) -> None:
        """Ask about each, until there are no more or the reviewer has had enough; Ctrl-C is enough too."""
        for number, case in enumerate(cases, 1):
            self._console.print(card(case, self._lexicons, f"{number} of {len(cases)}"))
            if not self._decide(case):
                return

    def _decide(self, case: Case) -> bool:
        """Ask until something was decided; false to stop."""
        while True:
            key = typer.prompt(_KEYS, prompt_suffix=" > ").strip().lower()[:1]
            if key in {"q", "s"}:
                return bool(key == "s")
            if key not in self._actions:
                continue
            try:
                entry = self._actions[key](case)
            except (BlurbError, ConfigError) as error:
                self._console.print(str(error), style="red", markup=False)
                continue
            if entry is not None:
                self._console.print(f"{entry.state}: {entry.text}", markup=False, highlight=False)
                self.num_decided[entry.state] += 1
                return True

    def _approve(self, case: Case) -> Entry:
        return self._desk.approve(case)

    def _edit(self, case: Case) -> Entry | None:
        text = typer.prompt("text", default=case.entry.text)
        verdict = self._desk.judged(case, text)
        why = ""
        if not verdict.passed:
            self._console.print(marked(text, verdict, []))
            self._console.print(reasons_table(verdict))
            why = typer.prompt("why it is right all the same (empty: back)", default="", show_default=False)
            if not why:
                return None
        return self._desk.edit(case, text, why)

    def _reject(self, case: Case) -> Entry:
        for code, meaning in REASONS.items():
            self._console.print(f"  {code}: {meaning}", markup=False, highlight=False)
        reason = typer.prompt("reason")
        note = typer.prompt("note", default="", show_default=False)
        return self._desk.reject(case, reason, note)

    def _block(self, case: Case) -> Entry:
        return self._desk.block(case, typer.prompt("note", default="", show_default=False))

    def _term(self, case: Case) -> None:
        """Add a word to what is allowed, or a term to what no text may have; the case stays open."""
        term = typer.prompt("term")
        if typer.confirm(f"withdraw all texts with {term!r}, and let none through (no: allow the word)"):
            self._console.print(f"{self._terms.forbid(term):,} texts withdrawn")
            return
        self._desk.checks, self._lexicons = self._terms.allow(case.entry.request.slot.language, term)
        self._console.print("allowed; the gate now says:")
        verdict = self._desk.judged(case, case.entry.text)
        self._console.print(verdict.outcome, reasons_table(verdict) if verdict.reasons else "")
