"""How long it takes until anything happens: the help of every command, and the import."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from pairs import Goal, Row, Side


def program(code: str, words: Sequence[str] = ()) -> Callable[[float], float]:
    """Run Python code in a process of its own, from its start to its end, a few times."""

    def turn(seconds: float) -> float:
        began, n = time.perf_counter(), 0
        while n == 0 or time.perf_counter() - began < seconds:
            run = [sys.executable, "-c", code, *words]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
            n += 1
        return (time.perf_counter() - began) / n

    return turn


def every_help() -> Callable[[float], float]:
    """Ask every command for its help, and return the longest time that one takes."""
    from hurdles import __all__ as verbs

    names = [*(v.replace("_", "-") for v in verbs if v not in _NO_COMMANDS), "recipes"]

    def turn(_: float) -> float:
        return max(program(_LINE, [name, "--help"])(0) for name in names)

    return turn


_NO_COMMANDS = ("__version__", "load", "plan")
_LINE = "from hurdles.cli import main; main()"

ROWS = (
    Row(
        "help",
        "`hurdles --help`",
        "s",
        (
            Side("hurdles", "starting:program", {"code": _LINE, "words": ["--help"]}),
            Side("empty Python", "starting:program", {"code": "pass"}),
            Side("import typer", "starting:program", {"code": "import typer"}),
        ),
        (Goal(0.3),),
        better="lower",
        seconds=2,
    ),
    Row(
        "help-of-commands",
        "`hurdles COMMAND --help`, the slowest of all",
        "s",
        (Side("hurdles", "starting:every_help"),),
        (Goal(0.3),),
        better="lower",
        turns=3,
    ),
    Row(
        "import",
        "`import hurdles`, a process of its own from its start to its end",
        "s",
        (Side("hurdles", "starting:program", {"code": "import hurdles"}),),
        (Goal(0.1),),
        better="lower",
        seconds=2,
    ),
)
