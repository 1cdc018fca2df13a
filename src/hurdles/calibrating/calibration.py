"""Calibration of all hurdles in order: pools, limits, references, fresh cohorts, real images.

Every finished trial is a line in a file; called again, only what is missing is computed.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.cohorts import RealImages, read_real_images
from hurdles.calibrating.limits import (
    Limits,
    limits_from,
    own_limits_table,
    rates_table,
    references_from,
    sizes_table,
)
from hurdles.calibrating.trials import (
    CALIBRATION,
    FRESH,
    PROFILES,
    Journal,
    Profile,
    Record,
    Trial,
    by_turns,
    calibration_trials,
    fault_numbers,
    fresh_trials,
    network_trials,
)
from hurdles.calibrating.worker import (
    Plan,
    cost_of,
    hurdles_for,
    instructions,
    one_thread,
    register_hurdles,
    render,
    run_trial,
)
from hurdles.errors import RegistryError, RunError
from hurdles.findings.limits import load_limits
from hurdles.pixels.perturb import PLANTS
from hurdles.progress import Options, Progress
from hurdles.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Result of a calibration.

    `limits` by hurdle and subject are calibrated ones, and those that hold by definition;
    `references` are the strengths at which the power of each shortcut was judged; `areas` the AUC
    of networks that had nothing but the shortcut to read, by shortcut and strength; `rates` false
    alarms and power, columns as in `hurdles.calibrating.limits.COLUMNS`. `cohorts` were
    drawn in all, in `seconds` on one core, renderings apart; `left` of the profile's were not.
    `sizes` holds the hits of all hurdles together by size of cohort, and `own_limits` what limits
    of each kind of models alone would give, columns as in `hurdles.calibrating.limits.sizes_table`
    and `own_limits_table`.
    """

    profile: Profile
    limits: Limits
    references: dict[str, float]
    areas: pd.DataFrame
    rates: pd.DataFrame
    sizes: pd.DataFrame
    own_limits: pd.DataFrame
    cohorts: int
    seconds: float
    left: int = 0


def calibrate_audit(
    out: Path,
    *,
    profile: str | Profile = "full",
    workers: int = 2,
    real: Path | None = None,
    data: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    imports: Sequence[str] = (),
    hours: float | None = None,
    options: Options | None = None,
) -> Calibration:
    """Measure how often every hurdle cries wolf, and how often it sees a known shortcut.

    Limits are set on cohorts without a shortcut; false alarms and power are measured on others.
    Every finished trial is a line in ``out/trials.jsonl``: called again, only what is missing is
    computed. The number of processes changes nothing but the time. After so many `hours` no fresh
    cohort is begun, and rates are of those that are there: each condition has about the same share
    of its cohorts then.
    """
    if hours is not None and not hours >= 0:
        raise RunError(f"{hours:g} hours are no time; give 0 (what is there) or more.")
    ends = math.inf if hours is None else time.monotonic() + 3600 * hours
    register_hurdles(imports)
    if isinstance(profile, str):
        if profile not in PROFILES:
            known = ", ".join(PROFILES)
            raise RegistryError(
                f"no profile is called {profile!r}. Known: {known}; choose one of them."
            )
        profile = PROFILES[profile]
    names = _names(DATA_HURDLES, data), _names(MODEL_HURDLES, models)
    plan = Plan(Path(out), profile, *names, tuple(imports))
    options = options or Options()
    images: dict[str, RealImages] = {}
    if real is None:
        options.listener.say("no real images are named; shortcuts are planted in phantoms only")
    else:
        images = read_real_images(real, size=profile.size, options=options)
    for name, each in images.items():
        each.save(plan.real_images(name))
    journal = Journal(plan.out / "trials.jsonl", _about(plan, images))
    for pool in plan.pools(CALIBRATION):
        if not pool.is_current():
            raise RunError(
                f"{pool.folder} holds phantoms that are rendered otherwise now; give another --out."
            )
    with _workers(plan, workers, options.listener) as at_work:
        _render(plan, at_work)
        # Only now: a journal may have been brought without its phantoms.
        with one_thread():
            _check(plan, journal, options.listener)
        return _carry_out(plan, journal, at_work, tuple(images), ends)


def _names(hurdles: Registry[Any], wanted: Sequence[str] | None) -> tuple[str, ...]:
    for name in wanted or ():
        hurdles.get(name)  # an unknown name raises
    return tuple(name for name in hurdles if wanted is None or name in wanted)


def _render(plan: Plan, at_work: _Workers) -> None:
    tasks = [
        (plan, part, number, *task)
        for part, plants in ((CALIBRATION, ()), (FRESH, plan.profile.planted))
        for number, pool in enumerate(plan.pools(part))
        for task in pool.tasks(plants)
    ]
    at_work.run("Rendering phantoms", render, tasks, lambda _: None)


def _carry_out(
    plan: Plan, journal: Journal, at_work: _Workers, real: tuple[str, ...], ends: float
) -> Calibration:
    profile = plan.profile
    kinds = [k for k in profile.efforts if (plan.data if k == "data" else plan.model)]

    def records_of(stage: str, trials: Sequence[Trial], ends: float = math.inf) -> list[Record]:
        turns = by_turns(trials)
        left = [t for t in turns if not journal.answers(t.name, hurdles_for(plan, t))]
        tasks, costs = [(plan, t.name) for t in left], [cost_of(t) for t in left]
        at_work.run(stage, run_trial, tasks, journal.add, costs, ends=ends)
        there = (t.name for t in trials if journal.answers(t.name, hurdles_for(plan, t)))
        return journal.among(there)

    clean = records_of("Cohorts without a shortcut", calibration_trials(profile, kinds))
    limits = limits_from(clean, load_limits())
    networks = records_of("Networks on shortcuts alone", network_trials(profile))
    references, areas = references_from(networks)
    faults = fault_numbers(plan.data)
    trials = [
        trial
        for trial in fresh_trials(profile, kinds, references, faults=faults, real=real)
        # What cannot be planted into an image that exists is not tried there.
        if not trial.is_real or not trial.plant or trial.plant in PLANTS
    ]
    fresh = records_of("Fresh cohorts", trials, ends)
    rates = rates_table(fresh, limits, references)
    done = [*clean, *networks, *fresh]
    seconds = sum(record.seconds for record in done)
    left = len(trials) - len(fresh)
    sizes = sizes_table(fresh, limits, references, profile.pools)
    own = own_limits_table(clean, fresh, limits, references)
    return Calibration(
        profile, limits, references, areas, rates, sizes, own, len(done), seconds, left
    )


def _about(plan: Plan, real: Mapping[str, RealImages]) -> dict[str, Any]:
    """Return the settings by which cohorts are drawn and networks trained.

    How many trials there are is not among them: a larger profile goes on from a smaller one.
    """
    drawn = ("size", "pools", "pool_patients", "planted_patients", "epochs", "seed")
    images = {
        name: hashlib.sha256(each.plain.pixels.tobytes()).hexdigest() for name, each in real.items()
    }
    return {name: getattr(plan.profile, name) for name in drawn} | {"real": images}


def _check(plan: Plan, journal: Journal, listener: Progress) -> None:
    """Carry out one finished trial of each kind again; raise `RunError` unless it finds the same.

    Code is not compared but what it measures: a new name throws no trial away, and a change that
    is one is found, as far as one trial shows it.
    """
    here = instructions()
    by_kind: dict[str, list[Record]] = {}
    for record in journal.records.values():
        by_kind.setdefault(Trial.parse(record.trial).kind, []).append(record)
    for kind, records in by_kind.items():
        # Other instructions make other sums, and so another network.
        alike = [record for record in records if record.instructions == here or kind == "data"]
        if not alike:
            listener.say(
                f"no trial of kind {kind} in {journal.path} is of a processor like this one: not "
                "held against what hurdles measures now"
            )
            continue
        first = min(alike, key=lambda record: Trial.parse(record.trial).patients)
        again = run_trial(plan, first.trial)
        if differ := sorted(first.differs_from(again)):
            raise RunError(
                f"{first.trial}, carried out again, is not as {journal.path} has it: "
                f"{', '.join(differ)}. What hurdles measures has changed; give another --out."
            )


class _Workers:
    """Tasks done here, or in several processes, with progress told."""

    def __init__(self, pool: ProcessPoolExecutor | None, listener: Progress, number: int) -> None:
        self.pool, self.listener, self.number = pool, listener, number

    def run(
        self,
        stage: str,
        work: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        done: Callable[[T], object],
        costs: Sequence[float] = (),
        *,
        ends: float = math.inf,
    ) -> None:
        """Do tasks, in whatever order they end, and pass each result on.

        None is begun later than `ends`, by the monotonic clock.
        """
        self.listener.start(stage, len(tasks), costs)
        begun = itertools.takewhile(lambda _: time.monotonic() < ends, tasks)
        for result in self._results(work, begun):
            done(result)
            self.listener.advance()

    def _results(self, work: Callable[..., T], tasks: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        if self.pool is None:
            yield from (work(*task) for task in tasks)
            return
        waiting: set[Future[T]] = set()
        # A few at a time: after an interruption nothing that nobody waits for goes on.
        for task in tasks:
            waiting.add(self.pool.submit(work, *task))
            if len(waiting) > 2 * self.number:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        yield from (future.result() for future in as_completed(waiting))


@contextmanager
def _workers(plan: Plan, number: int, listener: Progress) -> Iterator[_Workers]:
    if number < 1:
        raise RunError(f"{number} workers do nothing; give at least 1.")
    if number == 1:
        with one_thread():
            yield _Workers(None, listener, 1)
        return
    # Started anew, not forked: a fork of a process with threads may never come back.
    pool = ProcessPoolExecutor(
        number,
        mp_context=get_context("spawn"),
        initializer=prepare_process,
        initargs=(plan.imports,),
    )
    try:
        yield _Workers(pool, listener, number)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_single_thread = ExitStack()


def prepare_process(imports: Sequence[str] = ()) -> None:
    """Make a new process ready: its hurdles, and one thread for as long as it lives."""

    def end_with_parent() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    # Otherwise it waited for ever where the process that gives it work is killed.
    threading.Thread(target=end_with_parent, daemon=True).start()
    register_hurdles(imports)
    _single_thread.enter_context(one_thread())
