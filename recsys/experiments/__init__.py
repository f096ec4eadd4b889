"""Experiments: what an operator defines, who gets which arm, what was shown to whom, and what follows.

``definition`` and ``metric`` hold what a TOML file says; ``bucketing`` and ``assignment`` decide arms;
``registry`` freezes definitions and keeps the audit log; ``exposures`` reads the log of served lists, and
``persons`` says which arm everybody counts for.

Results: ``report`` (from the logs) or ``unit_table`` (from a file) give one row per unit; ``analysis`` makes
a ``result`` of it, by way of ``moments``, ``estimate``, ``difference``, ``comparison`` and ``verdict``, with
``inference`` by the definition's method (``always_valid``, ``group_sequential``). ``power`` and
``simulation`` look ahead, on ``past_units``. docs/experiment-statistics.md says which formula is whose.

``sitting`` keeps what was read in a ``look_book``, and ``reading`` says what the next reading may say.

Nothing here knows a transport or a model.
"""
