"""Experiments: what an operator defines, who gets which arm, what was shown to whom, and what follows.

``definition`` and ``metric`` hold what a TOML file says; ``bucketing`` and ``assignment`` decide arms;
``registry`` freezes definitions and keeps the audit log; ``exposures`` reads the log of served lists.
Nothing here knows a transport or a model.
"""
