"""Classes that nobody can have meant: spelled in two ways, several in one, or no class at all."""

from __future__ import annotations

import logging
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from hurdles.data.folder import is_mask_folder
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import listed
from hurdles.errors import ManifestError

logger = logging.getLogger("hurdles.data")

#: A class of fewer images is named: a fifth of them, as a test part has, is one image or none, and
#: of one image answered rightly the Wilson interval of the sensitivity is [21, 100] %.
TINY = 10
#: Folders that hold images of any class, letters only; ``train_images``, ``test set`` ...
_PLACE = re.compile(
    r"(?:(?:train|training|val|valid|validation|test|testing)[ _-]*)?"
    r"(?:images?|imgs?|pictures|pics|png|jpe?g|dicoms?|dcm|data|dataset|set|xrays?|files)"
)
#: These part findings; the others may belong to a class's own name.
_PLAIN_SEPARATORS = "|;"
_SEPARATORS = _PLAIN_SEPARATORS + ",+&/"
_SHOWN = 6


def same_class(label: str) -> str:
    """Return a spelling that labels which differ in case and blanks only have in common."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", "".join(plain.split()))


def doubtful_classes(labels: Sequence[str], *, requested: Collection[str] = ()) -> list[str]:
    """Return what is doubtful about classes, a sentence each, with what to type."""
    doubts = []
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        spellings[same_class(label)].append(label)
    for alike in spellings.values():
        if len(alike) > 1 and not set(alike) <= set(requested):
            best = max(alike, key=lambda each: (each in requested, each.istitle(), each))
            joins = " ".join(_option(each, best) for each in alike if each != best)
            doubts.append(f"{_and(alike)} differ in case or blanks only; join them: {joins}")
    rest = [label for label in labels if label not in requested]
    if several := _combined(rest, set(spellings)):
        first = Counter(part for parts in several.values() for part in parts).most_common(1)[0][0]
        signs = {sign: None for sign in _SEPARATORS for each in several if sign in each}
        away = " ".join(_option(f"*{sign}*", "") for sign in signs)
        examples = listed([*several], _SHOWN)
        doubts.append(
            f"{len(several)} {'is' if len(several) == 1 else 'are'} several findings in one "
            f"({examples}), and an image has one class here. To leave such images out: "
            f"{away}. To count one finding wherever it is named: {_option(f'*{first}*', first)} "
            f"{_option('*', 'other')}"
        )
    if places := [
        each
        for each in rest
        if is_mask_folder(each) or _PLACE.fullmatch(each.casefold().strip()) is not None
    ]:
        away = " ".join(_option(each, "") for each in places)
        what = "are names of folders" if len(places) > 1 else "is the name of a folder"
        doubts.append(
            f"{_and(places)} {what}, not of a class. Give a table that names the class of each "
            f"image, or leave what is in there out: {away}"
        )
    return doubts


def _combined(labels: Sequence[str], known: Collection[str]) -> dict[str, list[str]]:
    """Return the classes that are several findings in one, each with its findings."""
    combined = {}
    for label in labels:
        for sign in _SEPARATORS:
            parts = [part.strip(" []'\"") for part in label.split(sign)]
            parts = [part for part in parts if part]
            alone = all(same_class(part) in known for part in parts)
            if len(parts) > 1 and (sign in _PLAIN_SEPARATORS or alone):
                combined[label] = parts
                break
    return combined


def known_classes(
    manifest: Manifest, known: Sequence[str], *, who: str
) -> tuple[Manifest, tuple[str, ...]]:
    """Return the images of classes that a model knows: of others it is neither right nor wrong."""
    counts = {label: n for label, n in manifest.counts.items() if label not in known}
    if not counts:
        return manifest, ()
    spellings = {same_class(label): label for label in known}
    alike = {each: spellings[same_class(each)] for each in counts if same_class(each) in spellings}
    joins = " ".join(_option(each, alike.get(each, "OURS")) for each in counts)
    if len(counts) == len(manifest.labels):
        raise ManifestError(
            f"{who} knows none of the images' classes: it knows {', '.join(known)}, they are "
            f"{', '.join(manifest.labels)}. Say which is which, as in {joins}"
        )
    if alike:
        joins = " ".join(_option(theirs, ours) for theirs, ours in alike.items())
        raise ManifestError(
            f"{who} calls {_and([*alike.values()])} what the images call {_and([*alike])}; say so: "
            f"{joins}"
        )
    shown = ", ".join(f"{label!r} ({n})" for label, n in counts.items())
    note = (
        f"{sum(counts.values())} of {len(manifest)} images are left out, since {who} knows no "
        f"class {shown}; it knows {', '.join(known)}. To test on them, say which is which, as in "
        f"{joins}"
    )
    logger.warning(note)
    others = manifest.frame[manifest.frame["label"].isin(counts)]
    reasons = [f"its class {label!r} is none of the model's" for label in others["label"]]
    return manifest.without(others["image"], reasons), (note,)


def judged_classes(
    manifest: Manifest, *, requested: Collection[str] = (), refuse: bool = True
) -> Manifest:
    """Refuse classes that cannot be meant, and name tiny ones; nothing has been decoded by then."""
    doubts = doubtful_classes(manifest.labels, requested=requested)
    if doubts and refuse:
        more = "\n- " if len(doubts) > 1 else ""
        raise ManifestError("of the classes, " + more + "\n- ".join(doubts))
    notes = [f"of the classes, {doubt}" for doubt in doubts]
    counts = manifest.counts
    tiny = {label: n for label, n in counts.items() if n < TINY and label not in requested}
    if tiny and max(counts.values()) >= TINY:
        one = len(tiny) == 1
        shown = ", ".join(f"{label!r} {n}" for label, n in [*tiny.items()][:_SHOWN])
        shown += f" and {len(tiny) - _SHOWN} more" if len(tiny) > _SHOWN else ""
        away = " ".join(_option(label, "") for label in [*tiny][:_SHOWN])
        notes.append(
            f"{len(tiny)} of {len(counts)} classes {'has' if one else 'have'} fewer than {TINY} "
            f"images ({shown}): a test part of them shows nothing. To leave "
            f"{'it' if one else 'them'} out: {away}"
        )
    for note in notes:
        logger.warning(note)
    return replace(manifest, notes=(*manifest.notes, *notes))


def _option(theirs: str, ours: str) -> str:
    return f"--label {shlex.quote(f'{theirs}={ours}')}"


def _and(labels: Sequence[str]) -> str:
    *some, last = map(repr, labels)
    return f"{', '.join(some)} and {last}" if some else last
