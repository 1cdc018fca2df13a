"""Inputs of a result against the files and images that are at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hurdles.data.files import file_hash
from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.findings.limits import limits_input
from hurdles.pixels.cache import contents_of
from hurdles.verifying.verification import Line, agrees, differs, not_checked

_BEGINNING = 16


@dataclass(frozen=True)
class AtHand:
    """Files, folders and images that inputs may be looked for among.

    `given` were named by the user: a file of these that is no input is itself a difference. In
    `folders` files are looked for by the names of the inputs, and nowhere else. `images` are
    manifests by what images are called; `only` are those that the user gave where the result was
    made of one set of images, which may have had another name then. `is_current` says whether
    this version wrote the result.
    """

    given: Sequence[Path] = ()
    folders: Sequence[Path] = ()
    images: Mapping[str, Manifest] = field(default_factory=dict)
    only: Manifest | None = None
    cache: str | Path | None = None
    is_current: bool = True

    def images_called(self, name: str) -> Manifest | None:
        """Return the images of this name, or `only`, whatever they were called then."""
        return self.images.get(name, self.only)

    def places(self, name: str) -> list[Path]:
        """Return the files that may be the one of this name."""
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return []  # hurdles names no such file, and nothing is looked for elsewhere
        first, _, rest = name.partition("/")
        places = [path for path in self.given if path.is_file() and path.name == Path(name).name]
        for folder in [*self.folders, *(path for path in self.given if path.is_dir())]:
            places += [folder / name, folder.parent / name]
            places += [folder / rest] if rest and folder.resolve().name == first else []
        return [path for path in dict.fromkeys(places) if _is_file(path)]

    def files_for(self, each: Input) -> list[Path]:
        """Return the files that may be an input, those with its very content first."""
        files = [path for path in self.given if path.is_file()]
        same = [path for path in files if file_hash(path) == each.sha256]
        return list(dict.fromkeys([*same, *self.places(each.name)]))


def input_lines(inputs: Sequence[Input], at_hand: AtHand) -> Iterator[Line]:
    """Yield whether each input is at hand and has the content that it had."""
    if not inputs:
        yield not_checked("inputs", "the file names none")
    known = {each.sha256 for each in inputs}
    hashes = {path: file_hash(path) for path in at_hand.given if path.is_file()}
    for each in inputs:
        match each.role:
            case Role.IMAGES | Role.ROWS:
                yield _images_line(each, at_hand)
            case Role.LIMITS:
                yield _limits_line(each, at_hand, hashes)
            case _:
                yield _file_line(each, at_hand, known, hashes)
    for path, content in hashes.items():
        names = {Path(each.name).name for each in inputs}
        if inputs and content not in known and path.name not in names:
            yield differs(f"given {path.name}", f"{_short(content)} is none of the inputs")


def _file_line(each: Input, at_hand: AtHand, known: set[str], hashes: Mapping[Path, str]) -> Line:
    if each.sha256 in hashes.values():
        return agrees(str(each), each.sha256)
    contents = {path: hashes.get(path) or file_hash(path) for path in at_hand.places(each.name)}
    if each.sha256 in contents.values():
        return agrees(str(each), each.sha256)
    # Two inputs may have one name: what is the other one is no changed form of this one.
    others = [(path, content) for path, content in contents.items() if content not in known]
    if not others:
        return not_checked(str(each), f"no such file is at hand (SHA-256 {_short(each.sha256)})")
    path, content = others[0]
    return differs(str(each), f"{path} has SHA-256 {_short(content)}, it was {_short(each.sha256)}")


def _limits_line(each: Input, at_hand: AtHand, hashes: Mapping[Path, str]) -> Line:
    given = [(path, h) for path, h in hashes.items() if path.name == each.name]
    shipped = limits_input().sha256
    for path, content in given:
        if content != each.sha256:
            return differs(
                str(each), f"{path} has SHA-256 {_short(content)}, it was {_short(each.sha256)}"
            )
    if given or shipped == each.sha256:
        return agrees(str(each), each.sha256)
    if not at_hand.is_current:
        return not_checked(str(each), "another version wrote the file, whose limits are not here")
    return differs(
        str(each), f"those of this hurdles are {_short(shipped)}, they were {_short(each.sha256)}"
    )


def _images_line(each: Input, at_hand: AtHand) -> Line:
    manifest = at_hand.images_called(each.name)
    if manifest is None:
        return not_checked(str(each), f"{each.n} were used; give them by --data")
    if each.role is Role.ROWS:
        now = Input.of_rows(each.name, manifest)
        lost = 0
    else:
        contents = contents_of(manifest, cache=at_hand.cache)
        there = [content for content in contents if isinstance(content, str)]
        now, lost = Input.of_images(each.name, there), len(contents) - len(there)
    if now == each:
        return agrees(str(each), f"{each.n}, {each.sha256}")
    if lost and now.n != each.n:
        return not_checked(str(each), f"{lost} of {len(manifest)} files cannot be opened")
    what = "files" if each.role is Role.IMAGES else "rows (names, classes, patients, split ...)"
    return differs(
        str(each), f"{now.n} {what} have {_short(now.sha256)}; {each.n} had {_short(each.sha256)}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is longer than names may be
        return False


def _short(sha256: str) -> str:
    return f"{sha256[:_BEGINNING]}..."
