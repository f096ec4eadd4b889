"""Feature definitions and their two evaluations.

Every family is one module with the features it defines, an ``online`` function that computes them in NumPy
for one moment, and an ``offline`` function that computes them in Polars for a whole table of (query, item)
pairs. ``registry`` puts the families together; ``log`` prepares what the offline side reads; ``parity``
proves that both sides agree.
"""
