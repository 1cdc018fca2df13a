"""The house measured: the size of its rooms, how they hang together, a recipe's way through.

    python bench/house.py --before REVISION [--out docs/results]

measures the package as it lies here and as it was at REVISION (a commit of this repository), and
writes ``house.md`` and ``house.csv``. Counted are, for each room (a folder or a module right below
the package):

- lines, and lines of code: no blank line, no comment, no docstring;
- modules;
- private functions (``_name``, also in classes), and those that their module names exactly once;
- lines of imports and of ``__all__``, as a share of the lines of code;
- arrows (pairs of rooms one of which imports the other) and circles, of rooms and of modules;
  imports inside functions and for types alone count;
- rooms that refuse a recipe (``raise RecipeError``), and climbs: in one training on phantoms every
  function that is handed a recipe or a section of one is noted when it is first called, and each
  step of that list from a room to one further up in the layers of ``pyproject.toml`` climbs.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_TOKENS = ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER")
SILENT = {getattr(tokenize, name) for name in _TOKENS}
#: Goals of the rebuild; the page says which are met.
GOALS = {
    "lines": (32_000, "at most 32,000"),
    "code": (20_000, "at most 20,000"),
    "modules": (170, "at most 170"),
    "named_once": (0.40, "at most 40 %"),
    "largest_room": (5_000, "at most 5,000"),
    "room_circles": (0, "none"),
    "module_circles": (0, "none"),
}
#: Trains for an epoch on phantoms, and prints the rooms of the functions that are handed a recipe.
TRACE = """
import json, sys, tempfile
from pathlib import Path
try:
    from hurdles.phantom import write_phantom
except ImportError:
    from hurdles.data.phantom import write_phantom
import hurdles
names, order = {}, []
def is_recipe(value):
    kind = type(value)
    return kind.__module__.startswith("hurdles.") and (
        kind.__name__ == "Recipe" or kind.__name__.endswith("Section"))
def trace(frame, event, _):
    if event != "call":
        return
    code = frame.f_code
    module = frame.f_globals.get("__name__", "")
    if code in names or not module.startswith("hurdles.") or code.co_name.startswith("<"):
        return
    count = code.co_argcount + code.co_kwonlyargcount
    values = [frame.f_locals.get(n) for n in code.co_varnames[:count]]
    if any(is_recipe(v) for v in values) and not is_recipe(values[0]):
        names[code] = True
        order.append(f"{module}.{code.co_qualname}")
folder = Path(tempfile.mkdtemp())
write_phantom(folder / "data", 40, seed=1, size=64)
settings = {"preparation.size": 64, "training.epochs": 1, "split.scheme": "patient"}
sys.setprofile(trace)
hurdles.run("small-data", data=str(folder / "data"), out=folder / "run", settings=settings)
sys.setprofile(None)
print(json.dumps(order))
"""


def main() -> None:
    """Measure both, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--before", required=True, help="a commit to compare with")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", options.before, "src", "pyproject.toml"],
            cwd=ROOT, capture_output=True, check=True,
        ).stdout  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        before = House(Path(folder))
        after = House(ROOT)
        tables = pd.concat(
            [
                house.rooms().assign(when=when)
                for when, house in (("before", before), ("after", after))
            ]
        )
        totals = pd.DataFrame({"before": before.totals(), "after": after.totals()})
    options.out.mkdir(parents=True, exist_ok=True)
    tables.to_csv(options.out / "house.csv", index=False, float_format="%.3f")
    (options.out / "house.md").write_text(page(tables, totals, options.before), encoding="utf-8")
    print(totals.to_string())


class House:
    """A tree of the package, parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        package = root / "src" / "hurdles"
        self.texts = {
            name_of(p, package): p.read_text("utf-8") for p in sorted(package.rglob("*.py"))
        }
        self.trees = {name: ast.parse(text) for name, text in self.texts.items()}
        self.imports = {name: set(self._imports(name)) for name in self.trees}

    def _imports(self, module: str) -> Iterator[str]:
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hurdles":
                base = node.module.removeprefix("hurdles").removeprefix(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".lstrip(".")
                    target = inner if inner in self.trees else base
                    if target != module:
                        yield target

    def rooms(self) -> pd.DataFrame:
        """Return a row for each room."""
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for name, text in self.texts.items():
            tree, row = self.trees[name], rows[room_of(name)]
            uses = names_used(tree)
            private = [
                n.name for n in ast.walk(tree)
                if isinstance(n, FUNCTIONS) and n.name[0] == "_" and n.name[:2] != "__"
            ]  # fmt: skip
            row["lines"] += text.count("\n")
            row["code"] += code_lines(text, tree)
            row["modules"] += 1
            row["private_functions"] += len(private)
            row["named_once"] += sum(uses[n] == 1 for n in private)
            row["import_lines"] += import_lines(tree)
        return pd.DataFrame([{"room": room, **row} for room, row in sorted(rows.items())]).fillna(0)

    def totals(self) -> dict[str, float]:
        """Return the numbers of the whole package."""
        rooms = self.rooms()
        arrows = {
            (room_of(a), room_of(b)) for a, bs in self.imports.items() for b in bs
            if room_of(a) != room_of(b)
        }  # fmt: skip
        refusing = {
            room_of(name) for name, tree in self.trees.items() for node in ast.walk(tree)
            if isinstance(node, ast.Raise) and "RecipeError(" in ast.unparse(node)
        }  # fmt: skip
        order = self._recipe_order()
        rank = self._layers()
        ranks = [rank.get(room_of(name.removeprefix("hurdles.")), 0) for name in order]
        folders = rooms[rooms["room"] != "hurdles"]
        return {
            "lines": rooms["lines"].sum(),
            "code": rooms["code"].sum(),
            "modules": rooms["modules"].sum(),
            "rooms": len(folders),
            "largest_room": folders["lines"].max(),
            "private_functions": rooms["private_functions"].sum(),
            "named_once": rooms["named_once"].sum() / rooms["private_functions"].sum(),
            "imports": rooms["import_lines"].sum() / rooms["code"].sum(),
            "documented_names": sum(len(exported(t)) for t in self.trees.values()),
            "arrows": len(arrows),
            "room_circles": len(circles(arrows)),
            "module_circles": len(circles((a, b) for a, bs in self.imports.items() for b in bs)),
            "refusing_rooms": len(refusing),
            "functions_handed_a_recipe": len(order),
            "climbs": sum(later > earlier for earlier, later in pairwise(ranks)),
        }

    def _layers(self) -> dict[str, int]:
        """Return how high each room stands; 0 is the lowest."""
        settings = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
        contracts = settings["tool"]["importlinter"]["contracts"]
        layers = next(c["layers"] for c in contracts if c["type"] == "layers")
        return {
            room.strip(): height
            for height, layer in enumerate(reversed(layers))
            for room in layer.split("|")
        }

    def _recipe_order(self) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", TRACE], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(self.root / "src")},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        return list(json.loads(done.stdout.splitlines()[-1]))


def name_of(path: Path, package: Path) -> str:
    """Return a module's dotted name below the package; '' for the package itself."""
    return (
        ".".join(path.relative_to(package).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip(".")
    )


def room_of(module: str) -> str:
    """Return the room in which a module stands."""
    return module.split(".")[0] or "hurdles"


def names_used(tree: ast.Module) -> Counter[str]:
    """Count how often each name is used in a module, its definitions left out."""
    return Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )


def code_lines(text: str, tree: ast.Module) -> int:
    """Count lines that hold code: no blank line, no comment, no docstring."""
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            used.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            used -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(used)


def import_lines(tree: ast.Module) -> int:
    """Count the lines of imports and of `__all__`."""
    return sum(
        (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    )


def exported(tree: ast.Module) -> list[str]:
    """Return what a module lists as its documented API."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [e.value for e in getattr(node.value, "elts", []) if isinstance(e, ast.Constant)]
    return []


def circles(arrows: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of places each of which can be reached from each other one."""
    pairs = list(arrows)
    places = sorted({place for pair in pairs for place in pair})
    number = {place: row for row, place in enumerate(places)}
    rows, columns = ([number[pair[end]] for pair in pairs] for end in (0, 1))
    matrix = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(places),) * 2)
    _, labels = connected_components(matrix, connection="strong")
    groups = [set(np.array(places)[labels == label].tolist()) for label in np.unique(labels)]
    return [group for group in groups if len(group) > 1]


LABELS = {
    "lines": "lines",
    "code": "lines of code",
    "modules": "modules",
    "rooms": "rooms (folders and modules right below the package)",
    "largest_room": "lines of the largest room",
    "private_functions": "private functions",
    "named_once": "of them named exactly once",
    "imports": "imports and `__all__`, share of the lines of code",
    "documented_names": "names of the documented API (`__all__`)",
    "arrows": "arrows between rooms",
    "room_circles": "circles of rooms",
    "module_circles": "circles of modules",
    "refusing_rooms": "rooms that refuse a recipe",
    "functions_handed_a_recipe": "functions that a recipe is handed to in one run",
    "climbs": "climbs of a recipe on its way through `run`",
}


def page(rooms: pd.DataFrame, totals: pd.DataFrame, revision: str) -> str:
    """Write both houses beside each other, in Markdown."""

    def text(key: str, value: float) -> str:
        return (
            f"{value:.0%}".replace("%", " %")
            if key in ("named_once", "imports")
            else f"{value:,.0f}"
        )

    lines = [
        "# The house",
        "",
        f"Written by `python bench/house.py --before {revision}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}; its docstring says "
        "what is counted. Research use only; not a medical device.",
        "",
        "| | before | after | goal | |",
        "|---|---|---|---|---|",
    ]
    for key, (before, after) in totals.iterrows():
        limit, goal = GOALS.get(str(key), (None, ""))
        verdict = "" if limit is None else "met" if after <= limit else "missed"
        cells = (LABELS[str(key)], text(str(key), before), text(str(key), after), goal, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    for when in ("after", "before"):
        lines += [
            "",
            f"## Rooms {when}",
            "",
            "| room | lines | of code | modules | private functions | named once |",
            "|---|---|---|---|---|---|",
        ]
        for row in rooms[rooms["when"] == when].itertuples():
            share = row.named_once / row.private_functions if row.private_functions else None
            sizes = (row.lines, row.code, row.modules, row.private_functions)
            cells = (row.room, *(f"{size:,.0f}" for size in sizes))
            shown = "" if share is None else text("named_once", share)
            lines.append(f"| {' | '.join(cells)} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
