"""Measurements of the whole system, each beside its baseline in the same run, printed as a ratio. Not tests.

`python -m bench` runs them all on a private installation; `python -m bench claim latency` runs some.
"""
