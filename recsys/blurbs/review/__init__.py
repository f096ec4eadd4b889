"""What people do with texts: a queue, their judgements, and how far they agree."""
