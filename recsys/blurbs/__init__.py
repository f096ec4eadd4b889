"""Short, true, safe lines of text for ranked items: made offline, checked, and only then published."""
