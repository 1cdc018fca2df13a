"""How the house is laid out: rules that hold for every file."""

from __future__ import annotations

import ast
import graphlib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "hurdles"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("captum", "cv2", "gdcm", "matplotlib", "pydicom", "scipy", "sklearn", "torch")


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def declared(module: Path) -> list[str] | None:
    """What a module lists as public, or None."""
    for node in parsed(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def names_bound(module: Path) -> set[str]:
    """Return the names that a module defines, assigns or imports anywhere."""
    tree = list(ast.walk(parsed(module)))
    names = {n.name for n in tree if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    names |= {n.id for n in tree if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    aliases = [a for n in tree if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
    return names | {a.asname or a.name for a in aliases}


def sort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that ruff keeps `__all__` in."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 20


def refuse(problem: Callable[[Path], object]) -> None:
    """Fail with a line for each module that breaks the rule at hand."""
    found = [f"{m.relative_to(PACKAGE)}: {problem(m)}" for m in MODULES if problem(m)]
    assert not found, "\n" + "\n".join(found)


def calls(module: Path) -> list[tuple[int, str]]:
    """Return the line and the name of everything that a module calls."""
    nodes = [node for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)]
    return [(node.lineno, ast.unparse(node.func)) for node in nodes]


def code_lines(module: Path) -> int:
    """Return how many lines hold code: no blank line, no comment, no docstring.

    Counting docstrings would split modules by their length and not by their idea.
    """
    text, used, documented = module.read_text(encoding="utf-8"), set(), set()
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(parsed(module)):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent | {tokenize.ENDMARKER}:
            used |= set(range(token.start[0], token.end[0] + 1))
    return len(used - documented)


def test_a_module_has_at_most_400_lines_of_code():
    def problem(module: Path) -> str:
        # Tokens are counted only where there are enough lines at all.
        long = module.read_text(encoding="utf-8").count("\n") > 400 and code_lines(module) > 400
        return f"{code_lines(module)} lines of code" if long else ""

    refuse(problem)


def test_a_module_is_a_noun_not_a_drawer():
    refuse(lambda m: m.stem in {"common", "helper", "helpers", "misc", "util", "utils"})


def test_a_module_says_what_it_is_for():
    refuse(lambda m: "no docstring" if not ast.get_docstring(parsed(m)) else "")


def test_the_documented_api_of_a_module_is_sorted_and_there():
    """`__all__` lists what is documented in full; test_docstrings.py looks at those."""

    def problem(module: Path) -> str:
        listed = declared(module)
        if listed is None:
            return ""
        if listed != sorted(set(listed), key=sort_key):
            return "__all__ is not sorted"
        bound = names_bound(module)
        # What `import *` brings, mypy holds against the list.
        missing = set() if "*" in bound else set(listed) - bound
        return f"in __all__ and not there: {sorted(missing)}" if missing else ""

    refuse(problem)


def test_what_others_may_use_says_in_a_sentence_what_it_is():
    def problem(module: Path) -> list[str]:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        nodes = [n for n in parsed(module).body if isinstance(n, kinds) and n.name[0] != "_"]
        docs = {node.name: ast.get_docstring(node) or "" for node in nodes}
        return [
            name for name, doc in docs.items() if not doc.split("\n\n")[0].endswith((".", ":", "?"))
        ]

    refuse(problem)


def test_no_module_is_imported_by_what_it_imports():
    """Whether at once, in a function or for types alone: a circle is one idea in two files."""
    names = {".".join(m.relative_to(PACKAGE.parent).with_suffix("").parts): m for m in MODULES}
    names = {name.removesuffix(".__init__"): module for name, module in names.items()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, module in names.items():
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.ImportFrom) and (node.module or "") in names:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= inner & set(names) or {str(node.module)}
        graph[name].discard(name)
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names it


def test_only_the_command_line_writes_to_stdout():
    def names_a_stream(call: ast.Call) -> bool:
        files = [ast.unparse(k.value) for k in call.keywords if k.arg == "file"]
        return files != [] and "sys.stdout" not in files

    def problem(module: Path) -> list[int]:
        writing = [
            node
            for node in ast.walk(parsed(module))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"print", "sys.stdout.write"}
        ]
        return [call.lineno for call in writing if not names_a_stream(call)]

    refuse(lambda module: module.parent.name != "cli" and problem(module))


def test_nothing_reseeds_the_global_generators():
    reseeding = {"np.random.seed", "numpy.random.seed", "random.seed", "torch.manual_seed"}

    def problem(module: Path) -> list[tuple[int, str]]:
        names = {name for _, name in calls(module)}
        # PyTorch's dropout knows no other generator; forked, it is the caller's no longer.
        allowed = {"torch.manual_seed"} if "torch.random.fork_rng" in names else set()
        return [call for call in calls(module) if call[1] in reseeding - allowed]

    refuse(problem)


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_folder_of_one_machine_or_a_package_index():
    # Put together here so that this file does not find itself.
    folders = "|".join(["work", "root", "home", "opt", "tmp", "Users", "mnt"])
    hosts = "|".join(["py" + "pi\\.org", "python" + "hosted", "download\\.py" + "torch\\.org/whl"])
    pattern = re.compile(rf"(?<![\w.~*$}}>-])/(?:{folders})/\w|{hosts}".encode())
    found = []
    for file in tracked_files():
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" in content:
            continue
        for number, line in enumerate(content.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.decode()[:80]}")
    assert found == []


@pytest.mark.parametrize("module", ["hurdles", "hurdles.cli", "hurdles.api"])
def test_importing_is_quick_because_heavy_libraries_wait(module):
    program = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_hurdles_loads_not_even_pandas():
    program = "import sys, hurdles; print('pandas' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
