"""The gate: decides whether a text about an item may be published. Deterministic; closed when anything fails."""
