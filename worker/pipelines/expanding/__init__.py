"""Richer prompts from short ones: by a grammar, by a language model here, or by one behind an address.

`template` and `drawing` are the grammar's two pure halves; `expanding` is what all three have in common.
"""
