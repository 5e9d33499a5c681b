"""The package itself: its stubs, its docstrings, its guide and its examples."""

import ast
import doctest
import inspect
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import unlade
from unlade import _unlade

PLUGIN = Path(__file__).parents[1]
# Classes of the stubs alone.
PROTOCOLS = {"ArrowArray", "ArrowStream", "ArrowSchema", "Expression"}
GUIDE = PLUGIN.parents[1] / "docs/PYTHON.md"


def test_it_is_the_installed_wheel_that_is_tested():
    assert PLUGIN not in Path(unlade.__file__).parents
    assert resources.files(unlade).joinpath("py.typed").is_file()


def test_the_stubs_are_what_is_there():
    stubs = ast.parse(resources.files(unlade).joinpath("_unlade.pyi").read_text())
    classes = {
        node.name: node
        for node in stubs.body
        if isinstance(node, ast.ClassDef) and node.name not in PROTOCOLS
    }
    compiled = {name: value for name, value in vars(_unlade).items() if isinstance(value, type)}
    assert set(classes) == set(compiled)
    for name, stub in classes.items():
        members = {
            node.name
            for node in stub.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        there = set(vars(compiled[name])) - {"__module__", "__doc__", "__repr__", "__str__"}
        # What Python adds to a class with these.
        there -= {"__weakref__", "_repr_html_", "__eq__", "__ne__", "__hash__"}
        there -= {"__lt__", "__le__", "__gt__", "__ge__", "__delitem__", "__setitem__"}
        assert members - {"__new__"} == there - {"__new__"}, name
    functions = {node.name for node in stubs.body if isinstance(node, ast.FunctionDef)}
    assert functions == {"runtime", "functions"}


def test_stubs_have_the_arguments_that_are_there():
    stubs = ast.parse(resources.files(unlade).joinpath("_unlade.pyi").read_text())
    compared = 0
    classes = (node for node in stubs.body if isinstance(node, ast.ClassDef))
    for stub in (stub for stub in classes if stub.name not in PROTOCOLS):
        for method in stub.body:
            if not isinstance(method, ast.FunctionDef) or method.name.startswith("_"):
                continue
            there = getattr(getattr(_unlade, stub.name), method.name)
            if not callable(there):
                continue
            arguments = method.args.posonlyargs + method.args.args + method.args.kwonlyargs
            names = [argument.arg for argument in arguments]
            assert names == list(inspect.signature(there).parameters), f"{stub.name}.{method.name}"
            compared += 1
    assert compared > 20


def test_everything_public_says_what_it_is():
    for name in unlade.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(unlade, name)), name


def test_the_docstrings_examples_run():
    result = doctest.testmod(unlade)
    assert result.attempted > 3
    assert result.failed == 0


def test_the_guides_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) > 5
    scope = {"__name__": "guide"}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), scope)  # noqa: S102


@pytest.mark.parametrize("name", ["tensors.py", "rows_per_second.py"])
def test_an_example_runs(name, tmp_path):
    command = [sys.executable, str(PLUGIN / "examples" / name), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if name == "rows_per_second.py":
        (picture,) = tmp_path.glob("*.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert "cpu" in done.stdout
    else:
        assert "loss" in done.stdout
