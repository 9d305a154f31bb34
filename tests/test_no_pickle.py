"""Nothing that makes objects or code of what it reads: the lint forbids each by name, and no `noqa` gets round it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("api", "models", "worker", "safelight", "migrations", "bench", "docker", ".ci", "tests")
FORBIDDEN_MODULES = frozenset({
    "pickle", "_pickle", "cPickle", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib", "marshal",
})  # fmt: skip
PINNED_STATE_DICTS = ROOT / "worker" / "packaged" / "state_dicts.py"
"""May call `torch.load` once, with `weights_only=True` written out, on files whose hashes stand in the code."""
FORBIDDEN_CALLS = frozenset({
    "torch.load", "torch.hub.load", "torch.package", "np.load", "numpy.load", "pandas.read_pickle",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec",
})  # fmt: skip
LINES = {
    "import pickle": "TID251",
    "from pickle import loads": "TID251",
    "import _pickle": "TID251",
    "import shelve": "TID251",
    "import dill": "TID251",
    "import cloudpickle": "TID251",
    "import jsonpickle": "TID251",
    "import joblib": "TID251",
    "import marshal": "TID251",
    "import torch\n\ntorch.load('x')": "TID251",
    "import torch\n\ntorch.load('x', weights_only=False)": "TID251",
    "import torch\n\ntorch.save({}, 'x')": "TID251",
    "from torch import load\n\nload('x')": "TID251",
    "import torch.hub": "TID251",
    "import numpy as np\n\nnp.load('x', allow_pickle=True)": "TID251",
    "from numpy import load": "TID251",
    "import pandas as pd\n\npd.read_pickle('x')": "TID251",
    "import yaml\n\nyaml.load('x', Loader=yaml.Loader)": "S506",
    "import yaml\n\nyaml.unsafe_load('x')": "TID251",
    "eval('1')": "S307",
    "exec('1')": "S102",
    "import subprocess\n\nsubprocess.run('x', shell=True)": "S602",
}


@pytest.mark.parametrize("line", LINES)
def test_the_lint_bites(line: str) -> None:
    run = subprocess.run(
        [
            sys.executable, "-m", "ruff", "check", "--output-format=concise", "--stdin-filename", "worker/planted.py",
            "-",
        ],
        cwd=ROOT, input=f"{line}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert f" {LINES[line]} " in run.stdout, run.stdout


def test_no_file_gets_round_it() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if ".venv" not in path.parts]
    assert len(files) > 200
    found = [f"{path.relative_to(ROOT)}: {name}" for path in files for name in forbidden(path)]
    assert found == [f"{PINNED_STATE_DICTS.relative_to(ROOT)}: torch.load"]
    loads = [node for node in ast.walk(ast.parse(PINNED_STATE_DICTS.read_text())) if isinstance(node, ast.Call)]
    (load,) = [node for node in loads if ast.unparse(node.func) == "torch.load"]
    assert ast.unparse(load) == "torch.load(locate(file), map_location='cpu', weights_only=True)"


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import pickle as p  # noqa\nfrom shelve import open\n__import__('marshal')\n"
        "import importlib; importlib.import_module('dill')\nimport torch; torch.load('x')\nmodel.eval()\n"
    )
    assert sorted(forbidden(planted)) == ["dill", "marshal", "pickle", "shelve", "torch.load"]


def forbidden(path: Path) -> Iterator[str]:
    """What a file imports or calls of all that."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                yield called
            if (
                called.endswith(("__import__", "import_module"))
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                names = [str(node.args[0].value)]
        yield from (name for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
