"""Every mutation still applies, still is Python, and its tests are there. Whether they catch it: `make mutants`."""

import ast

import pytest

from tests.mutants.table import MUTANTS, Edit, Mutant
from tests.mutants.trial import ROOT, DoesNotApplyError, mutated


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_and_its_tests_exist(mutant: Mutant) -> None:
    for path, text in mutated(ROOT, mutant).items():
        assert text != path.read_text()
        ast.parse(text)
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name.partition("[")[0] in functions


@pytest.mark.parametrize(("old", "times"), [("hold.attempt", 1), ("hold.", 3), ("nowhere", 0)])
def test_a_text_must_be_there_exactly_once(old: str, times: int) -> None:
    mutant = Mutant("m", (Edit("models/jobs/guard.py", old, "x"),), ())
    if times == 1:
        assert mutated(ROOT, mutant)
        return
    with pytest.raises(DoesNotApplyError, match=f"is {times} times in"):
        mutated(ROOT, mutant)
