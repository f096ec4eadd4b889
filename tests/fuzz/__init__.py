"""Coverage-guided fuzzing of whatever reads bytes from outside: ``make fuzz-parsers SECONDS=60``.

A target is a function of bytes that may return or raise a ``RecsysError``; all else is a finding.
"""
