"""Faults on purpose, against real processes: ``make faults`` runs them and writes the table of
docs/reliability.md.

A test is named after its row of that table. It starts what it needs with the fixtures of ``conftest``, notes
what it measured with ``figure``, and asserts what must hold on any machine: statuses, levels, nothing lost.
Times are noted, and asserted only where they are wrong by far.
"""
