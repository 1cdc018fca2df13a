"""Hurdles of one's own: a Python file that registers them when it is run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from hurdles.errors import HurdleError, HurdlesError

__all__ = ["load_hurdles"]


def load_hurdles(files: Iterable[str | Path]) -> None:
    """Run Python files, so that the hurdles in them are registered; each file once.

    Parameters
    ----------
    files : iterable of path
        They use `hurdles.auditing.hurdle.data_hurdle` and `model_hurdle`; see ``docs/hurdles.md``.

    Raises
    ------
    HurdleError
        If a file is missing or cannot be run.
    RegistryError
        If a hurdle in it has the name of another.
    """
    for file in files:
        path = Path(file).absolute()
        if not path.is_file():
            raise HurdleError(f"{path} is not a file; give a Python file with hurdles of your own.")
        name = f"hurdles_own_{path.stem}"
        loaded = sys.modules.get(name)
        if loaded is not None and loaded.__file__ == str(path):
            continue
        _run(path, name)


def _run(path: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HurdleError(f"{path} is no Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (HurdlesError, KeyboardInterrupt):
        del sys.modules[name]
        raise
    except BaseException as error:  # sys.exit() in it must not end hurdles as if all were well
        del sys.modules[name]
        raise HurdleError(
            f"{path} cannot be run: {type(error).__name__}: {error}. Mend it and try again."
        ) from error
