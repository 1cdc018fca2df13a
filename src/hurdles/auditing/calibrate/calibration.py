"""All of the calibration in order: pools, limits, references, fresh cohorts, real images."""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from hurdles._version import __version__
from hurdles.auditing.calibrate.cohorts import RealStock, read_stock
from hurdles.auditing.calibrate.journal import Journal, Record, is_calibrated
from hurdles.auditing.calibrate.limits import Limits, limits_from, rates_table, references_from
from hurdles.auditing.calibrate.trials import (
    PROFILES,
    Profile,
    Trial,
    calibration_trials,
    fault_numbers,
    fresh_trials,
    network_trials,
)
from hurdles.auditing.calibrate.worker import (
    Plan,
    one_thread,
    register_hurdles,
    render,
    run_trial,
)
from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.errors import RegistryError, RunError
from hurdles.findings.limits import load_limits
from hurdles.pixels.perturb import PLANTS
from hurdles.progress import Options, Progress
from hurdles.registry import Registry

T = TypeVar("T")
#: Modules of this package that judge what was measured; changing one asks for no new cohorts.
_AFTERWARDS = ("calibration", "figure", "limits", "page")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a calibration found.

    Parameters
    ----------
    profile : Profile
        How much was tried.
    limits : mapping
        By hurdle and subject: calibrated ones, and those that hold by definition.
    references : dict of str to float
        Strength at which the power of each shortcut was judged.
    areas : DataFrame
        AUC of networks that had nothing but the shortcut to read, by shortcut and strength.
    rates : DataFrame
        False alarms and power, columns as in `hurdles.auditing.calibrate.limits.COLUMNS`.
    cohorts : int
        How many were drawn in all.
    seconds : float
        What they took on one core, renderings apart.
    has_real : bool
        Whether shortcuts were planted into real images too.
    """

    profile: Profile
    limits: Limits
    references: dict[str, float]
    areas: pd.DataFrame
    rates: pd.DataFrame
    cohorts: int
    seconds: float
    has_real: bool


def calibrate_audit(
    out: Path,
    *,
    profile: str | Profile = "full",
    workers: int = 2,
    real: Path | None = None,
    data: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    imports: Sequence[str] = (),
    options: Options | None = None,
) -> Calibration:
    """Measure how often every hurdle cries wolf, and how often it sees a known shortcut.

    Limits are set on cohorts without a shortcut; false alarms and power are measured on others.
    Every finished trial is a line in ``out/trials.jsonl``: called again, only what is missing is
    computed. The number of processes changes nothing but the time.
    """
    register_hurdles(imports)
    chosen = _profile(profile)
    plan = Plan(
        Path(out),
        chosen,
        _names(DATA_HURDLES, data),
        _names(MODEL_HURDLES, models),
        tuple(imports),
    )
    options = options or Options()
    stock = _real(plan, real, options)
    journal = Journal(plan.out / "trials.jsonl", _about(plan, stock))
    with _crew(plan, workers, options.listener) as crew:
        return _carry_out(plan, journal, crew, real=stock is not None)


def _carry_out(plan: Plan, journal: Journal, crew: _Crew, *, real: bool) -> Calibration:
    kinds = tuple(k for k, names in (("data", plan.data), ("model", plan.model)) if names)
    profile = plan.profile
    crew.render()
    first = calibration_trials(profile, kinds)
    crew.run("Cohorts without a shortcut", first, journal)
    limits = limits_from(_of(journal, first), load_limits())
    networks = network_trials(profile)
    crew.run("Networks on shortcuts alone", networks, journal)
    references, areas = references_from(_of(journal, networks))
    # What cannot be planted into an image that exists is not tried there.
    fresh = [
        trial
        for trial in fresh_trials(
            profile, kinds, references, faults=fault_numbers(plan.data), real=real
        )
        if trial.part != "real" or not trial.plant or trial.plant in PLANTS
    ]
    crew.run("Fresh cohorts", fresh, journal)
    rates = rates_table(_of(journal, fresh), limits, references)
    done = _of(journal, [*first, *networks, *fresh])
    seconds = sum(r.seconds for r in done)
    return Calibration(profile, limits, references, areas, rates, len(done), seconds, real)


def _of(journal: Journal, trials: Sequence[Trial]) -> list[Record]:
    return journal.among(t.name for t in trials)


def _profile(profile: str | Profile) -> Profile:
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise RegistryError(
            f"no profile is called {profile!r}. Known: {', '.join(PROFILES)}; choose one of them."
        )
    return PROFILES[profile]


def _names(hurdles: Registry[Any], wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return tuple(hurdles.names())
    for name in wanted:
        hurdles.get(name)
    return tuple(name for name in hurdles if name in wanted)


def _real(plan: Plan, folder: Path | None, options: Options) -> RealStock | None:
    if folder is None:
        options.listener.say("no real images are named; shortcuts are planted in phantoms only")
        return None
    stock = read_stock(folder, size=plan.profile.size, options=options)
    if stock is not None:
        stock.save(plan.out / "real.npz")
    return stock


def _about(plan: Plan, real: RealStock | None) -> dict[str, Any]:
    """Return whatever can change a number: what is asked, by which code, of which images."""
    hurdles = [DATA_HURDLES.get(n).run for n in plan.data]
    hurdles += [MODEL_HURDLES.get(n).run for n in plan.model]  # type: ignore[misc] # two kinds
    sources = sorted({str(inspect.getsourcefile(h)) for h in hurdles} | set(_ground()))
    # Parsed, so that a comment or a line break asks for no new cohorts.
    parsed = "".join(ast.dump(ast.parse(Path(s).read_bytes())) for s in sources)
    code = hashlib.sha256(parsed.encode()).hexdigest()
    return {
        "hurdles": __version__,
        "profile": asdict(plan.profile),
        "data": plan.data,
        "models": plan.model,
        "code": code,
        "fixed": {"/".join(k): v.value for k, v in load_limits().items() if not is_calibrated(v)},
        "real": None if real is None else hashlib.sha256(real.pixels.tobytes()).hexdigest(),
    }


def _ground() -> Iterator[str]:
    """Yield the files that decide what a trial measures."""
    here = Path(__file__).parent
    root = here.parents[1]
    for room in ("auditing", "evaluation", "models", "phantom", "pixels", "training"):
        for file in (root / room).rglob("*.py"):
            if file.parent != here or file.stem not in _AFTERWARDS:
                yield str(file)


class _Crew:
    """Does tasks here, or in several processes, and tells how far it is."""

    def __init__(
        self, plan: Plan, pool: ProcessPoolExecutor | None, listener: Progress, workers: int
    ) -> None:
        self.plan, self.pool, self.listener, self.workers = plan, pool, listener, workers

    def render(self) -> None:
        """Render what is not rendered yet."""
        plan = self.plan
        tasks = []
        for part, plants in (("calibration", ()), ("fresh", plan.profile.planted)):
            for number, pool in enumerate(plan.pools(part)):
                tasks += [(plan, part, number, *task) for task in pool.tasks(plants)]
        self._each("Rendering phantoms", render, tasks, lambda _: None)

    def run(self, stage: str, trials: Sequence[Trial], journal: Journal) -> None:
        """Carry out the trials that are not in the journal yet."""
        tasks = [(self.plan, t.name) for t in trials if t.name not in journal.records]
        self._each(stage, run_trial, tasks, journal.add)

    def _each(
        self,
        stage: str,
        work: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        done: Callable[[T], None],
    ) -> None:
        self.listener.start(stage, len(tasks))
        for result in self._results(work, tasks):
            done(result)
            self.listener.advance()

    def _results(self, work: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        if self.pool is None:
            yield from (work(*task) for task in tasks)
            return
        waiting: set[Future[T]] = set()
        left = iter(tasks)
        # A few at a time: after an interruption nothing that nobody waits for goes on.
        for task in left:
            waiting.add(self.pool.submit(work, *task))
            if len(waiting) > 2 * self.workers:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)


@contextmanager
def _crew(plan: Plan, workers: int, listener: Progress) -> Iterator[_Crew]:
    if workers < 1:
        raise RunError(f"{workers} workers do nothing; give at least 1.")
    if workers == 1:
        with one_thread():
            yield _Crew(plan, None, listener, 1)
        return
    # Started anew, not forked: a fork of a process with threads may never come back.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare, initargs=(plan.imports,)
    )
    try:
        yield _Crew(plan, pool, listener, workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_held = ExitStack()


def _prepare(imports: Sequence[str]) -> None:
    """Make a new process ready: its hurdles, and one thread for as long as it lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    register_hurdles(imports)
    _held.enter_context(one_thread())


def _end_with_parent() -> None:
    """End this process when the one that gives it work is killed; otherwise it waited for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
