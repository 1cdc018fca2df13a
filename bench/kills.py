"""Commands killed at random moments and given again: the same bits, or a refusal that helps.

Each kill takes one small case on phantoms, starts its command in a fresh folder, ends the whole
process group by SIGKILL, and gives the command again, as its own messages say. What is left must be
bit for bit what an undisturbed run leaves, but for times of day and durations. Half of the kills
fall at a moment drawn from the duration, half right before one of the command's writing calls
(files that are opened, renamed, removed; folders that are made): most windows in which something
can be lost lie there. A third of them is followed by another one. The number of a kill is its
seed, and every kill is a line in a journal: the same command goes on where it was stopped.

    python bench/kills.py --out runs/kills [--kills 100] [--only check]

writes ``docs/results/kills.md``.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import os
import pkgutil
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "kills.md"
#: Where a second kill comes too late: little was left to do.
NOT = "not: it had ended"
#: Seconds after which a command hangs; undisturbed each takes a few.
PATIENCE = 120.0
SAME, REFUSED = "same bits", "refused, and what it said works"
#: What may come of a kill; all but the first two are faults.
OUTCOMES = (SAME, REFUSED, "different", "traceback", "left behind", "hung")


# The cases.


@dataclass(frozen=True)
class Case:
    """One command on made images.

    Parameters
    ----------
    name : str
        What is killed.
    says : str
        What it does, for the page.
    arguments : tuple of str
        Of ``hurdles``; INPUT is the folder of the images. Empty: `carry_out` does it all.
    resume : str
        An option that its help names for going on.
    before : callable
        Changes what is drawn or saved, so that the case is small; called in the process.
    after : str
        A case whose finished output the command works on.
    """

    name: str
    says: str
    arguments: tuple[str, ...] = ()
    resume: str = ""
    before: Callable[[], None] | None = None
    after: str = ""


def _prepare(folder: Path) -> None:
    """Prepare the images with their lungs masked: two layers of the cache, in small batches."""
    import numpy as np

    from hurdles.data.files import replacing
    from hurdles.data.manifest import Manifest
    from hurdles.pixels import cache
    from hurdles.recipe.recipe import Recipe
    from hurdles.runs.images import preparation_of

    cache._BATCH_BYTES = 8 * 2 * 32 * 32
    recipe = Recipe(name="masked", preparation={"size": 32, "name": "masked"})
    prepared = cache.prepare(
        Manifest.load(folder / "phantom" / "manifest.csv"), preparation_of(recipe)
    )
    with replacing("out/pixels.npy") as part, part.open("wb") as handle:
        np.save(handle, prepared.pixels)
    prepared.manifest.save("out/manifest.csv")


def _save_always() -> None:
    """Save the state of training after every step, so that a kill may fall into it."""
    from hurdles.training import loop

    loop.SAVE_EVERY = 0.0


def _small_calibration() -> None:
    from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
    from hurdles.calibrating import trials

    trials.PROFILES["fast"] = trials.Profile(
        "fast", size=48, pools=1, pool_patients=48, planted_patients=48, patients=12, sizes=(12,),
        data=(4, 2), models=(), alike=1, graded=1,
        grid=(1.0,), networks=1, faults=1, real=(("data", 3, 1),), shortcuts=("marker",), epochs=1,
    )  # fmt: skip
    import hurdles.auditing.data
    import hurdles.auditing.model  # noqa: F401 - they register themselves

    for registry, kept in ((DATA_HURDLES, {"files", "size"}), (MODEL_HURDLES, set())):
        for name in set(registry.names()) - kept:
            del registry._items[name]


def _few_images_a_start() -> None:
    """Start a program for every 40 images, so that a kill may fall between two starts."""
    from hurdles.foreign import command

    made = command.CommandModel.__init__

    def few(self: Any, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **{**options, "images_per_start": 40})

    command.CommandModel.__init__ = few  # type: ignore[method-assign] # this process alone


_PROGRAM = """
import sys
from pathlib import Path
from PIL import Image, ImageStat  # loads quickly
rows = ["image,COVID-19,Normal,Pneumonia"]
for path in sorted(Path(sys.argv[1]).iterdir()):
    gray = ImageStat.Stat(Image.open(path)).mean[0] / 255
    rows.append(f"{path.name},{gray / 2},{(1 - gray) / 2},0.5")
Path(sys.argv[2]).write_text("\\n".join(rows) + "\\n")
"""

_ASKED = ("lungs-removed", "calibration", "subgroups", "stability")

CASES = {
    case.name: case
    for case in (
        Case("prepare", "37 images with their lungs masked, through the cache"),
        Case(
            "run",
            "trained for 3 epochs, its state saved after every step, tested, and reported",
            ("run", "INPUT/tiny.toml", "--data", "INPUT/phantom/manifest.csv", "--out", "out"),
            resume="--resume",
            before=_save_always,
        ),
        Case(
            "check",
            "all hurdles for data, with a page",
            ("check", "INPUT/phantom/manifest.csv", "--out", "out/page.html"),
        ),
        Case(
            "audit",
            "four hurdles for a finished run, with its page and the run's report",
            ("audit", "out", *(f"--hurdle={name}" for name in _ASKED)),
            after="run",
        ),
        Case(
            "predict",
            "16 images answered by a finished run, with a heat-map of each",
            (
                "predict",
                "out",
                "INPUT/phantom/COVID-19",
                "--out=answers/a.csv",
                "--heatmaps=answers/maps",
            ),
            after="run",
        ),
        Case(
            "audit-command",
            "two hurdles for a program, which answers 40 images a start",
            (
                "audit",
                "--model-command=" + sys.executable + " INPUT/program.py {images} {out}",
                "--data=INPUT/phantom/manifest.csv",
                "--size=32",
                "--hurdle=calibration",
                "--hurdle=perturbations",
                "--out=out/page.html",
            ),
            before=_few_images_a_start,
        ),
        Case(
            "segment",
            "the lungs of 15 images, with sheets",
            ("segment", "INPUT/phantom/COVID-19", "--out", "out"),
        ),
        Case(
            "study",
            "one cell of the study of remedies, its phantoms drawn on the way",
            (
                "study",
                "INPUT/small-study.toml",
                "--fast",
                "--out",
                "out",
                "--cells",
                "planted-hospital/none/0",
            ),
            before=_save_always,
        ),
        Case(
            "calibrate-audit",
            "two hurdles for data, on a dozen cohorts",
            ("calibrate-audit", "--profile", "fast", "--workers", "1", "--out", "out"),
            before=_small_calibration,
        ),
        Case(
            "folds",
            "two folds of an epoch each, their states saved after every step, and what they share",
            (
                "run",
                "INPUT/tiny.toml",
                "--data=INPUT/phantom/manifest.csv",
                *("--set=split.scheme=k-fold", "--set=split.folds=2", "--set=training.epochs=1"),
                "--out=out",
            ),
            resume="--resume",
            before=_save_always,
        ),
    )
}


def make_input(folder: Path) -> None:
    """Write the images and the recipe of all cases, unless they are there."""
    from hurdles.phantom.cohort import write_phantom
    from hurdles.recipe.recipe import Recipe

    write_phantom(folder / "phantom", 24, seed=1, size=64)
    recipe = Recipe(
        name="tiny",
        description="Is the whole way passable?",
        preparation={"size": 32},
        split={"scheme": "patient", "fractions": (0.5, 0.25, 0.25)},
        augmentation={"policy": "balanced"},
        training={"epochs": 3, "precision": "float32"},
        evaluation={"resamples": 100},
    )
    (folder / "tiny.toml").write_text(recipe.to_toml(), encoding="utf-8")
    (folder / "program.py").write_text(_PROGRAM, encoding="utf-8")
    (folder / "small-study.toml").write_text(_small_study(), encoding="utf-8")


def _small_study() -> str:
    """Return the study of remedies with few and small phantoms, trained for two epochs."""
    import tomllib
    from importlib import resources

    import tomli_w

    shipped = resources.files("hurdles.studies") / "grids" / "remedies.toml"
    plain = tomllib.loads(shipped.read_text(encoding="utf-8")) | {"name": "small-remedies"}
    for name, entry in plain["collections"].items():
        if "phantom" in entry:
            entry["phantom"] |= {"patients": 16 if "inside" in name else 4, "size": 48}
    settings = {"preparation": {"size": 36}, "training": {"epochs": 2}}
    plain["profiles"]["fast"]["settings"] = settings
    return tomli_w.dumps(plain)


# In the process that is killed.


def carry_out(case: Case, folder: Path, more: Sequence[str], die_at: int) -> None:
    """Do what a case does, here; end the process group before the `die_at`-th writing call."""
    _count_writes(die_at)
    if case.before is not None:
        case.before()
    if not case.arguments:
        _prepare(folder)
        return
    from hurdles.cli import main

    words = [word.replace("INPUT", str(folder)) for word in case.arguments]
    sys.argv = ["hurdles", *words, *more]
    main()


_OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


def _count_writes(die_at: int) -> None:
    """Note the writing calls below this folder in ``writes.txt``; die before one of them."""
    here = Path.cwd()
    log = os.open(here / "writes.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _WRITES or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (arguments[2] or 0) & _OPENED_TO_WRITE:
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - opens nothing
        if not path.startswith(f"{here}{os.sep}"):
            return
        count += 1
        os.write(log, f"{event} {os.path.relpath(path, here)}\n".encode())
        if count == die_at:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    sys.addaudithook(hook)


def serve() -> None:
    """Fork a process for every line of JSON that asks for one, and answer how it ended.

    Everything is imported before, so that moments fall into the work and not into imports, which
    take most of the time of so small a case.
    """
    _import_all()
    gc.collect()
    gc.freeze()  # a forked process need not touch, and so copy, what is there
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            _become(asked)
            carry_out(CASES[asked["case"]], Path(asked["input"]), asked["more"], asked["die_at"])
            return
        code = _waited(process, started + asked["seconds"])
        answer = {"code": code, "seconds": time.monotonic() - started}
        print(json.dumps(answer), flush=True)


def _import_all() -> None:
    import hurdles

    for module in pkgutil.walk_packages(hurdles.__path__, "hurdles."):
        import_module(module.name)
    for name in ("matplotlib.figure", "scipy.stats", "sklearn.linear_model", "torch._dynamo"):
        import_module(name)


def _become(asked: dict[str, Any]) -> None:
    """Make a forked process look as if it had been started on its own."""
    os.setsid()
    os.chdir(asked["work"])
    os.environ.update(asked["environment"])
    tempfile.tempdir = None
    for number, name in enumerate((os.devnull, asked["out"], asked["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)


def _waited(process: int, end: float) -> int:
    """Wait for a process, kill its group at `end`, and return its code as subprocess does."""
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            with suppress(ProcessLookupError):  # it is so young that it has no group yet
                os.killpg(process, signal.SIGKILL)
                end = math.inf
        time.sleep(0.001)


# Around it.


@dataclass(frozen=True)
class Ended:
    """How a process ended, or was ended."""

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def was_killed(self) -> bool:
        """Whether by us."""
        return self.code == -signal.SIGKILL


@dataclass(frozen=True)
class Kill:
    """What one kill did; a line of the journal."""

    number: int
    case: str
    kills: list[str]
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    again: list[str] = field(default_factory=list)

    @property
    def is_fault(self) -> bool:
        """Whether it came out as it must not."""
        return self.outcome not in (SAME, REFUSED)


class Bench:
    """Runs cases in one folder, undisturbed and killed.

    Parameters
    ----------
    out : Path
        Folder of the images, of what undisturbed runs left, and of the run under way: all of them
        work in the same place, so that paths in their files are equal.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.resolve()
        self.input = self.out / "input"
        self.work = self.out / "work"
        self.out.mkdir(parents=True, exist_ok=True)
        make_input(self.input)
        self._server = _Server()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def reference(self, name: str) -> Path:
        """Return the folder of an undisturbed run, done now if it is not done yet."""
        folder = self.out / "reference" / name
        if not (folder / "ended.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            self._fresh(CASES[name])
            ended = self._run(CASES[name], (), patience=600.0)
            if ended.code not in (0, 3):
                raise RuntimeError(f"{name} ends with {ended.code}: {ended.err}")
            (self.work / "ended.json").write_text(json.dumps(asdict(ended)), encoding="utf-8")
            folder.parent.mkdir(exist_ok=True)
            self.work.replace(folder)
        return folder

    def kill(self, number: int, name: str) -> Kill:
        """Kill a case as the number says, give the command again, and compare what is there."""
        case, folder = CASES[name], self.reference(name)
        whole = Ended(**json.loads((folder / "ended.json").read_text(encoding="utf-8")))
        chance, started = random.Random(number), time.monotonic()
        how = "write" if number // len(CASES) % 2 else "moment"
        again: list[str] = []
        kills: list[str] = []
        self._fresh(case)
        for _ in range(2 if chance.random() < 1 / 3 else 1):
            where = self._killed(case, folder, whole, again, how, chance)
            while where == NOT and not kills:  # the machine is quicker than it was
                self._fresh(case)
                where = self._killed(case, folder, whole, again, how, chance)
            kills.append(where)
            again = [case.resume] if case.resume and chance.random() < 0.5 else []
        outcome, detail, again = self._gone_on_with(case, folder, whole, again)
        seconds = round(time.monotonic() - started, 1)
        done = Kill(number, name, kills, outcome, detail, seconds, again)
        if done.is_fault:
            kept = self.out / f"fault-{number:03d}"
            shutil.rmtree(kept, ignore_errors=True)
            self.work.replace(kept)
        return done

    def _killed(
        self,
        case: Case,
        folder: Path,
        whole: Ended,
        again: list[str],
        how: str,
        chance: random.Random,
    ) -> str:
        """Start a case and kill it, and return where; it may end before, where little was left."""
        writes = (folder / "writes.txt").read_text(encoding="utf-8").splitlines()
        if how == "write":
            ended = self._run(case, again, die_at=chance.randint(1, len(writes)))
            last = (self.work / "writes.txt").read_text(encoding="utf-8").splitlines()[-1:]
            return _place("before " + last[0]) if ended.was_killed else NOT
        moment = chance.uniform(0, whole.seconds)
        ended = self._run(case, again, die_after=moment)
        return f"after {moment:.1f} s" if ended.was_killed else NOT

    def _gone_on_with(
        self, case: Case, folder: Path, whole: Ended, again: list[str]
    ) -> tuple[str, str, list[str]]:
        """Give the command until it ends well, as its messages say; return what came of it."""
        outcome = SAME
        for _ in range(3):
            ended = self._run(case, again)
            if ended.code is None or ended.was_killed:
                return "hung", f"more than {ended.seconds:.0f} s", again
            if "Traceback" in ended.err:
                return "traceback", ended.err[-600:], again
            if ended.code == whole.code:
                break
            advised = [o for o in ("--resume", "--force") if o in ended.err and o not in again]
            if not advised:
                return "different", f"ends with {ended.code}: {ended.err[-400:]}", again
            outcome, again = REFUSED, [*again, advised[0]]
        fault, detail = judged(self.work, folder, said=ended.out, should_say=whole.out)
        return fault or outcome, detail, again

    def _fresh(self, case: Case) -> None:
        prior = self.reference(case.after) / "out" if case.after else None
        shutil.rmtree(self.work, ignore_errors=True)
        for name in ("cache", "state", "tmp"):
            (self.work / name).mkdir(parents=True, mode=0o700)
        if prior is not None:
            shutil.copytree(prior, self.work / "out")

    def _run(
        self,
        case: Case,
        more: Sequence[str],
        *,
        die_at: int = 0,
        die_after: float | None = None,
        patience: float = PATIENCE,
    ) -> Ended:
        """Carry a case out in a process group of its own, and end that at a moment."""
        own = {"HURDLES_CACHE": "cache", "XDG_STATE_HOME": "state", "TMPDIR": "tmp"}
        files = {name: str(self.out / name) for name in ("out", "err")}
        asked = {
            "case": case.name,
            "input": str(self.input),
            "work": str(self.work),
            "environment": {name: str(self.work / folder) for name, folder in own.items()},
            **files,
            "more": list(more),
            "die_at": die_at,
            "seconds": patience if die_after is None else die_after,
        }
        answer = self._server.ask(asked)
        texts = [Path(f).read_text(encoding="utf-8", errors="replace") for f in files.values()]
        return Ended(answer["code"], *texts, answer["seconds"])


def judged(work: Path, reference: Path, *, said: str, should_say: str) -> tuple[str, str]:
    """Return which fault a folder shows beside that of an undisturbed run, if any, and where.

    Parameters
    ----------
    work, reference : Path
        With ``out``, ``cache`` and ``tmp``.
    said, should_say : str
        On stdout.
    """
    here, there = _files(work), _files(reference)
    if left := sorted(_leftovers(work) | (here - there)):
        return "left behind", ", ".join(left[:5])
    other = sorted(there - here) + [
        name
        for name in sorted(there & here)
        if timeless(name, (work / name).read_bytes())
        != timeless(name, (reference / name).read_bytes())
    ]
    if said != should_say:
        other.append("stdout")
    return ("different", ", ".join(other[:5])) if other else ("", "")


class _Server:
    """The process that forks those that are killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--serve"],
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._from.readline()

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._to.write(json.dumps(asked) + "\n")
        self._to.flush()
        return dict(json.loads(self._from.readline()))

    def close(self) -> None:
        self._to.close()
        self._process.wait()
        self._from.close()


def _place(text: str) -> str:
    """Return a writing call without what differs from process to process."""
    return re.sub(r"\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.part", ".….part", text)


#: Not compared: what is known of outputs and of the files' dates, a program's answers and logs
#: (a file for each start), and this bench's own.
_APART = re.compile(
    r"state/.*|cache/hashes/.*|cache/answers/(answers|logs)/.*|(.*/)?\.written|tmp/.*|writes\.txt|ended\.json"
)


def _files(folder: Path) -> set[str]:
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {name for name in names if not _APART.fullmatch(name)}


def _leftovers(folder: Path) -> set[str]:
    """Return parts of files anywhere, and whatever lies in the folder for temporary files."""
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    here = {name for name in names if name.endswith(".part") or name.startswith("tmp/")}
    return {name for name in here if not name.startswith("tmp/torchinductor_")}  # PyTorch's own


#: What differs from run to run by its nature: names of files, what is taken out, what that is.
_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
TIMES: tuple[tuple[str, str, str], ...] = (
    (r"(^|/)meta\.json$", rf'"finished": "{_ISO}"|"seconds": [\d.]+', "when it ended, how long"),
    (r"(^|/)history\.csv$", r",[\d.e-]+$", "`seconds` of each epoch"),
    (
        r"(^|/)checksums\.json$",
        r'"(folds/\d+/)?(history\.csv|meta\.json)": "[0-9a-f]{64}"',
        "the checksums of these two",
    ),
    (r"\.html$", rf"<dd>{_ISO}</dd>", "when it was made"),
    (
        r"(^|/)report\.html$",
        r'<dt>seconds</dt><dd>[\d.]+</dd>|(?<=<td class="n">)\d+\.\d(?=</td></tr>$)',
        "how long the run and each epoch took",
    ),
    (
        r"(^|/)(audit|page)\.(json|html)$",
        rf'"made": "{_ISO}"|"digest": "[0-9a-f]{{64}}"|'
        r'(?<=<meta name="findings" content=")[0-9a-f]{64}|(?<=<small class="hash">)[0-9a-f]{64}',
        "when it was made, and the digest of it all",
    ),
    (
        r"(^|/)report\.html$",
        r'(?<=<meta name="findings" content=")[0-9a-f]{64}',
        "the digest of its audit",
    ),
    (r"\.fast\.cells\.csv$", r"(?<=,done,2\.0,)[\d.]+", "`seconds` of each run"),
    (r"(^|/)trials\.jsonl$", r'"seconds": [\d.e-]+', "`seconds` of each trial"),
    (r"audit-calibration\.md$", r"\d+ minutes on one core", "how long it took"),
)


def timeless(name: str, content: bytes) -> bytes:
    """Return a file's content without what `TIMES` names."""
    for files, what, _ in TIMES:
        if re.search(files, name):
            content = re.sub(what.encode(), b"", content, flags=re.M)
    return content


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the cases and the journal")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--only", choices=list(CASES), help="this case alone; no page")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return 0
    if chosen.out is None:
        parser.error("--out is missing")
    numbers = [n for n in range(chosen.kills) if chosen.only in (None, name_of(n))]
    done = kill_all(chosen.out, numbers)
    if not chosen.only:
        PAGE.write_text(page(done, chosen.out), encoding="utf-8")
    return 1 if any(kill.is_fault for kill in done) else 0


def name_of(number: int) -> str:
    """Return which case a kill is of."""
    return list(CASES)[number % len(CASES)]


def kill_all(out: Path, numbers: Sequence[int]) -> list[Kill]:
    """Carry out the kills that are not in the journal, and return all of these numbers."""
    out.mkdir(parents=True, exist_ok=True)
    journal = out / "journal.jsonl"
    head = json.dumps({"source": _source()})
    if not journal.is_file():
        journal.write_text(head + "\n", encoding="utf-8")
    lines = journal.read_text(encoding="utf-8").splitlines()
    if lines[0] != head:
        sys.exit(f"{journal} is of another state of the code; give another --out.")
    done = {kill.number: kill for kill in (Kill(**json.loads(line)) for line in lines[1:])}
    with Bench(out) as bench:
        for name in dict.fromkeys(name_of(number) for number in numbers):
            bench.reference(name)
    # Another process, so another order of sets: it must not show in any file.
    with Bench(out) as bench, journal.open("a", encoding="utf-8") as handle:
        for number in numbers:
            if number not in done:
                done[number] = kill = bench.kill(number, name_of(number))
                handle.write(json.dumps(asdict(kill)) + "\n")
                handle.flush()
                print(kill, flush=True)
    return [done[number] for number in numbers]


def _source() -> str:
    """Return a hash of the code under test."""
    files = sorted((ROOT / "src").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def page(kills: Sequence[Kill], out: Path) -> str:
    """Return the page of what was done."""
    import hurdles

    fell = [where for kill in kills for where in kill.kills]
    hit = [where for where in fell if where != NOT]
    good = sum(not kill.is_fault for kill in kills)
    lines = [
        "# Killed at random moments, and given again",
        "",
        f"{len(kills)} times a command was ended by `kill -9`, its whole process group, and given "
        f"again as its own messages say; {len(hit) - len(kills)} of them were "
        f"killed twice in a row. {good} ended as they should: every file bit for bit that of an "
        "undisturbed run but for the times named below, the same words on stdout, nothing left "
        "behind.",
        "",
        f"Of {len(hit)} kills, {sum(w.startswith('after') for w in hit)} fell at a moment drawn "
        f"from the duration, {sum(w.startswith('before') for w in hit)} right before a writing "
        f"call; {len(fell) - len(hit)} further second ones came when it had ended already.",
        "",
        "| command | what | seconds | writing calls | cases | " + " | ".join(OUTCOMES) + " |",
        "|---|---|--:|--:|--:|" + "--:|" * len(OUTCOMES),
    ]
    for name, case in CASES.items():
        own = [kill for kill in kills if kill.case == name]
        folder = out / "reference" / name
        seconds = json.loads((folder / "ended.json").read_text(encoding="utf-8"))["seconds"]
        writes = len((folder / "writes.txt").read_text(encoding="utf-8").splitlines())
        counts = Counter(kill.outcome for kill in own)
        cells = [f"`{name}`", case.says, f"{seconds:.1f}", writes, len(own)]
        cells += [counts[outcome] for outcome in OUTCOMES]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "Seconds are of the undisturbed run, on a machine that may do other things as well. All "
        "modules were imported before: no kill falls into imports.",
    ]
    if faults := [kill for kill in kills if kill.is_fault]:
        lines += ["", "## Faults", ""]
        lines += [f"- kill {k.number}, `{k.case}`: {k.outcome}: {_line(k.detail)}" for k in faults]
    lines += ["", "## Not compared", "", "| files | what |", "|---|---|"]
    lines += [f"| `{files}` | {says} |".replace("(^|/)", "") for files, _, says in TIMES]
    lines += [
        "| `state/`, `cache/hashes/`, `.written` | what is remembered of outputs and dates |",
        "",
        "## All of them",
        "",
        "| kill | command | killed | again with | outcome |",
        "|--:|---|---|---|---|",
    ]
    for kill in kills:
        where = "; ".join(f"`{_line(w)}`" if w.startswith("before") else w for w in kill.kills)
        lines.append(
            f"| {kill.number} | {kill.case} | {where} | {' '.join(kill.again)} | {kill.outcome} |"
        )
    made = datetime.now(UTC).date().isoformat()
    lines += [
        "",
        f"Made by `python bench/kills.py --out runs/kills --kills {len(kills)}` with hurdles "
        f"{hurdles.__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, one thread a process, {made}.",
    ]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
