"""Long files begin early, whatever they are called, and each file is there once."""

from pathlib import Path

from tests.order import LONGEST, ordered

ROOT = Path(__file__).resolve().parent.parent
OTHERS = [f"tests/other/test_{number}.py" for number in range(3 * len(LONGEST))]


def test_every_long_file_is_there() -> None:
    """One that was renamed would come at any time."""
    assert len(set(LONGEST)) == len(LONGEST)
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []


def test_long_files_begin_by_their_length_with_the_others_between_them() -> None:
    found = ordered([name for name in sorted([*LONGEST, *OTHERS]) for _ in range(2)])
    assert sorted(found) == sorted([*LONGEST, *OTHERS])
    assert [name for name in found if name in LONGEST] == list(LONGEST)
    assert [name for name in found if name in OTHERS] == sorted(OTHERS)
    assert found[::4] == list(LONGEST)


def test_a_part_of_the_suite_keeps_its_order() -> None:
    assert ordered(OTHERS) == OTHERS
    assert ordered([]) == []
