"""The command line: one file per command, and nothing of the application.

``main`` names the commands; each file defines one function (or a Typer of its own) and imports what is slow inside it.
"""
