"""Named mutations of the protocol, each caught by a directed test: `python -m tests.mutants` shows it.

Random kills alone do not catch a missing fence. `table` holds the mutations as exact replacements of source, `trial`
tries one in a copy of the tree, `test_table` sees in every `make test` that each of them still applies.
"""
