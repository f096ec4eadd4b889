"""The checks of the gate, from cheap to dear. Each looks at one text and yields what speaks against it."""
