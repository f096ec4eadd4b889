"""Blurbs: short, true, safe lines of text about items, made beforehand and checked before they are shown."""
