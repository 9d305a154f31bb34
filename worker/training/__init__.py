"""How the starter checkpoints are made: data, captions, training loops, evaluation and export.

Every step is one command, ``python -m worker.training.<name> --help``. Nothing here runs while jobs are served.
"""
