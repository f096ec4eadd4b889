"""Generated from ``proto/recsys/v1``: messages and stubs of the wire contract.

``python -m tests.contracts.generate_proto .`` (``make proto``) writes everything here but this file, and a test
compares the result byte for byte. Only ``serving`` imports it.
"""
