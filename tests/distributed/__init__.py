"""Tests that need several servers: a cluster for the state. Not part of ``make test``."""
