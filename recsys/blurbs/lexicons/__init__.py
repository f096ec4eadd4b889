"""The packaged lexicons: one YAML file per language, and those of units, attributes and brands."""
