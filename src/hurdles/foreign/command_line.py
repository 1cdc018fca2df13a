"""A command that answers about images, as its user typed it: words, placeholders, files."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hurdles.data.files import file_hash
from hurdles.errors import ModelError

#: A command that is right, for messages.
EXAMPLE = "python predict.py {images} {out}"
_CONTAINER = (
    "docker run --rm -v {images}:/in:ro -v {out_dir}:/out IMAGE predict /in /out/answers.csv"
)
_MEANINGS = {
    "images": "the folder of PNGs",
    "out": "the table to write, a CSV",
    "out_dir": "the folder of that table",
}
#: Not ``${NAME}``, which is a shell's, nor ``{{name}}``, a template's.
_PLACEHOLDER = re.compile(r"(?<![${])\{([A-Za-z_]\w*)\}(?!\})")
_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})
_SHELL_SIGNS = frozenset({"&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "|", "||"})
#: Files of a folder that are looked at; more are seldom a model.
_MOST_FILES = 2000


@dataclass(frozen=True)
class CommandLine:
    """A command by its words; `script` is the place of a shell's script among them, or -1."""

    text: str
    words: tuple[str, ...]
    script: int = -1

    def filled(self, images: Path, out: Path) -> list[str]:
        """Return the words with their placeholders replaced; within a script, quoted."""
        values = {"images": str(images), "out": str(out), "out_dir": str(out.parent)}

        def value(match: re.Match[str]) -> str:
            return values[match[1]]

        return [
            _PLACEHOLDER.sub(
                (lambda m: shlex.quote(value(m))) if place == self.script else value, word
            )
            for place, word in enumerate(self.words)
        ]

    @property
    def names_table(self) -> bool:
        """True where the program is given the table's name, and not only its folder."""
        return "out" in _PLACEHOLDER.findall(self.text)

    def files(self, apart: Path) -> dict[str, str]:
        """Return the files and folders that the command names, each with a hash of its content.

        Of a folder, a model's for example, that is of names, sizes and times. `apart` is a folder
        in which hurdles writes, so one that holds it is left out, as is the program itself where it
        is found by PATH.
        """
        hashes = {}
        for word in self._named():
            path = Path(word)
            try:
                if path.is_file():
                    hashes[word] = file_hash(path)
                elif path.is_dir() and not apart.resolve().is_relative_to(path.resolve()):
                    hashes[word] = _folder_hash(path)
            except (OSError, ValueError):
                continue  # no path, or one that cannot be read here
        return hashes

    def _named(self) -> list[str]:
        """Return what may be paths: words, and their parts beside ``=`` and ``:``."""
        words = list(self.words)
        if self.script >= 0:
            words += _split(self.words[self.script])
        parts = [part for word in words for part in (word, *re.split("[=:]", word))]
        return [part for part in dict.fromkeys(parts) if part and not _PLACEHOLDER.search(part)]


def parsed(text: str) -> CommandLine:
    """Return a command by its words, as a shell would part them; no shell reads it.

    Raises
    ------
    ModelError
        If it does not name both folder and table, names something that is unknown, is written for
        a shell, or if there is no such program.
    """
    if not text.strip():
        raise ModelError(f"the command is empty; give one such as {EXAMPLE!r}.")
    try:
        words = [os.path.expanduser(word) for word in shlex.split(text)]  # noqa: PTH111 - a word is seldom a path
    except ValueError as error:
        raise ModelError(f"the command {text!r} cannot be read ({error}); close the quotes.") from (
            error
        )
    script = -1
    if Path(words[0]).name in _SHELLS:
        flags = [i for i, word in enumerate(words) if re.fullmatch("-[a-z]*c", word)]
        script = flags[0] + 1 if flags and flags[0] + 1 < len(words) else -1
    _refuse_placeholders(text)
    if script >= 0:
        if re.search(r"""["']\{(?:images|out|out_dir)\}|\{(?:images|out|out_dir)\}["']""",
                     words[script]):  # fmt: skip
            raise ModelError(
                f"in the script of {text!r} a placeholder stands in quotes; leave them away, since "
                "hurdles quotes what it puts there."
            )
    elif signs := [word for word in words if word in _SHELL_SIGNS]:
        raise ModelError(
            f"{signs[0]!r} in {text!r} is a sign for a shell, and no shell reads the command. If "
            f"that is wanted, say so: sh -c {shlex.quote(text)}"
        )
    _refuse_program(words[0], text)
    return CommandLine(text, tuple(words), script)


def _refuse_placeholders(text: str) -> None:
    names = _PLACEHOLDER.findall(text)
    meanings = ", ".join(f"{{{name}}} ({meaning})" for name, meaning in _MEANINGS.items())
    if unknown := [name for name in names if name not in _MEANINGS]:
        raise ModelError(f"{{{unknown[0]}}} in {text!r} is unknown; there are {meanings}.")
    if "images" not in names or not {"out", "out_dir"} & {*names}:
        lacking = "{images}" if "images" not in names else "{out}"
        raise ModelError(
            f"the command {text!r} lacks {lacking}; there are {meanings}. For example "
            f"{EXAMPLE!r}, or of a container {_CONTAINER!r}."
        )


def _refuse_program(program: str, text: str) -> None:
    if shutil.which(program):
        return
    if Path(program).is_file():
        raise ModelError(
            f"{program} in {text!r} may not be executed; name what runs it (python {program} ...), "
            "or allow it (chmod +x)."
        )
    hint = f"; write env {program} ..." if "=" in program else ""
    raise ModelError(
        f"there is no program {program!r} for {text!r}{hint}; give its whole path, or start "
        "hurdles where the program can be started by this name."
    )


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script)
    except ValueError:
        return []


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in islice(_files_within(folder), _MOST_FILES):
        status = path.stat()
        line = f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_within(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder in order, one by one: it may be a whole disk."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f[0] != "." and f != "__pycache__")
        yield from (Path(where, name) for name in sorted(files) if name[0] != ".")
