"""Verbs of the hurdles: for data, for a model, and for the hurdles themselves."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles._version import __version__
from hurdles.data.files import outputs, write_text
from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.errors import EvaluationError
from hurdles.findings.limits import limits_input
from hurdles.findings.table import Findings
from hurdles.progress import Options
from hurdles.runs.images import Data, classified, classified_apart, files_of, name_of
from hurdles.runs.inputs import image_inputs, run_inputs, sibling_inputs
from hurdles.runs.presentation import write_page
from hurdles.runs.run import Run
from hurdles.runs.seals import sealed

if TYPE_CHECKING:
    from hurdles.auditing.material import Material
    from hurdles.calibrating.calibration import Calibration

_PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "opencv-python-headless", "torch")


def check(
    data: Data,
    *,
    out: str | Path | None = None,
    hurdles: Sequence[str] | None = None,
    own: Sequence[str | Path] = (),
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    lungs: bool = False,
    join_patients: bool = False,
    sarif: str | Path | None = None,
    junit: str | Path | None = None,
    pictures: bool = True,
    force: bool = False,
    options: Options | None = None,
) -> Findings:
    """Put images through the hurdles for data; no model is needed.

    Parameters
    ----------
    data : Data
        The images: a path, a collection's name, ``NAME=PATH``, or several of these. The folder of a
        run brings its split.
    out : path, optional
        Where to write the page: ``.html`` with images, and the findings beside it as JSON and CSV;
        or ``.md`` without images, and CSV.
    hurdles : sequence of str, optional
        Only these; default: all.
    own : sequence of path
        Python files with hurdles of one's own, which are run as well.
    labels, columns : mapping, optional
        Classes of the images and columns of a table -> what they are to be called; see `run`.
    lungs : bool
        Look for the lungs, so that what lies outside them can be judged by itself; the first time
        that takes some thirty milliseconds an image.
    join_patients : bool
        Equal patient ids are one person, whatever their source.
    sarif, junit : path, optional
        Where to write the findings as SARIF 2.1.0 and as JUnit XML, for continuous integration.
    pictures : bool
        Show the radiographs to look at on the page: patients' pixels, which go where it goes.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Findings
        One row per finding, with intervals, limits and verdicts.

    Raises
    ------
    ManifestError
        If no image can be read.
    RegistryError
        If no hurdle has a name that was given.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.auditing.data import DATA_HURDLES
    from hurdles.auditing.hurdle import load_hurdles, run_hurdles
    from hurdles.auditing.loading import material_of

    options = options or Options()
    with outputs(*_files(out), sarif, junit, inputs=[*own, *files_of(data)], force=force):
        load_hurdles(own)
        for name in hurdles or ():
            DATA_HURDLES.get(name)  # before the images are read
        images = classified(data, labels=labels, columns=columns, join_patients=join_patients)
        parts = [data] if isinstance(data, str | Path | Manifest | Mapping) else list(data)
        name = " + ".join(name_of(part) for part in parts)
        material = material_of(images, name=name, options=options, lungs=lungs)
        findings = run_hurdles(
            DATA_HURDLES,
            material,
            names=hurdles,
            about=_about(name, len(images)),
            progress=options.listener,
        ).made_of(
            [
                *image_inputs({name: images}, cache=options.cache),
                *(Input.of_file(Role.TABLE, path) for path in files_of(data)),
                *_rules(own),
            ]
        )
        if out is not None:
            _write(findings, Path(out), f"Hurdles for data: {name}", material, pictures)
        _write_for_servers(findings, sarif, junit)
        return findings


def audit(
    run: Run | str | Path,
    *,
    on: Data | None = None,
    seeds: Sequence[Run | str | Path] = (),
    out: str | Path | None = None,
    hurdles: Sequence[str] | None = None,
    own: Sequence[str | Path] = (),
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    sarif: str | Path | None = None,
    junit: str | Path | None = None,
    pictures: bool = True,
    force: bool = False,
    options: Options | None = None,
) -> Findings:
    """Put a finished run through the hurdles for models.

    Parameters
    ----------
    run : Run or path
        A finished run. ``audit.json``, ``audit.csv`` and ``audit.html`` are written into its
        folder, and its report gets a section; both stay as they are where only some `hurdles`
        are run and the audit there asked others, too.
    on : Data, optional
        Other collections, each a test set of its own.
    seeds : sequence of Run or path
        Runs of the same recipe that differ in ``training.seed`` only.
    out : path, optional
        Where to write the page as well; as for `check`.
    hurdles : sequence of str, optional
        Only these; default: all.
    own : sequence of path
        Python files with hurdles of one's own, which are run as well.
    labels : mapping, optional
        Classes of the other collections -> classes of the run; see `run`.
    columns : mapping, optional
        Columns of their tables -> columns of a manifest; see `run`.
    sarif, junit : path, optional
        Where to write the findings as SARIF 2.1.0 and as JUnit XML, for continuous integration.
    pictures : bool
        Show the radiographs to look at on the page: patients' pixels, which go where it goes.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Findings
        One row per finding, with intervals, limits and verdicts.

    Raises
    ------
    RunError
        If a run is not finished.
    RegistryError
        If no hurdle has a name that was given.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.auditing.hurdle import load_hurdles, run_hurdles
    from hurdles.auditing.loading import subject_of
    from hurdles.auditing.model import MODEL_HURDLES

    options = options or Options()
    run = run if isinstance(run, Run) else Run(run)
    own_page = run.path / "audit.html"
    kept = kept_hurdles(run, hurdles)
    pages = [Path(out)] if out is not None and Path(out).absolute() != own_page.absolute() else []
    written = [] if kept else [*_files(own_page), run.report_path]
    written += [file for page in pages for file in _files(page)]
    inputs = [*own, *sealed(run.path), *files_of(on)]
    with outputs(*written, sarif, junit, inputs=inputs, ledger=run.ledger, force=force):
        load_hurdles(own)
        for name in hurdles or ():
            MODEL_HURDLES.get(name)
        elsewhere = classified_apart(on, labels=labels, columns=columns)
        siblings = [each if isinstance(each, Run) else Run(each) for each in seeds]
        subject = subject_of(run, on=elsewhere, siblings=siblings, options=options)
        made_of = [
            *image_inputs({run.recipe.name: run.manifest, **elsewhere}, cache=options.cache),
            *(Input.of_file(Role.TABLE, path) for path in files_of(on)),
            *run_inputs(run, "validation", "test"),
            *sibling_inputs(siblings),
            *_rules(own),
        ]
        findings = run_hurdles(
            MODEL_HURDLES,
            subject,
            names=hurdles,
            about=_about(run.recipe.name, len(subject.material)) | {"run": run.path.name},
            progress=options.listener,
            # What is found is kept, also if the audit is interrupted after it.
            after_each=None
            if kept
            else lambda some: some.made_of(made_of).save(run.path / "audit.json"),
        ).made_of(made_of)
        for path in pages if kept else [own_page, *pages]:
            title = f"Hurdles for a model: {run.recipe.name}"
            _write(findings, path, title, subject.material, pictures)
        _write_for_servers(findings, sarif, junit)
        if kept:
            options.listener.say(
                f"{own_page} and the report stay as they were: that audit asked {len(kept)} "
                f"more ({', '.join(kept)}). Audit without --hurdle to replace it."
            )
        else:
            write_page(run, pictures=pictures)
        return findings


def kept_hurdles(run: Run, hurdles: Sequence[str] | None) -> list[str]:
    """Return the hurdles of the audit on record that are not run again, for which it is kept.

    A hit of theirs would vanish from the run's report if an audit by fewer hurdles replaced it.
    """
    path = run.path / "audit.json"
    try:
        before = Findings.load(path).hurdles if hurdles and path.is_file() else []
    except EvaluationError:  # of another version, which the report does not read either
        before = []
    return [name for name in before if name not in (hurdles or ())]


def _rules(own: Sequence[str | Path]) -> list[Input]:
    """Return the limits that findings are held against, and the files of one's own hurdles."""
    return [limits_input(), *(Input.of_file(Role.HURDLES, path) for path in own)]


def _about(name: str, n_images: int) -> dict[str, str]:
    return {
        "images": f"{name}, {n_images} images",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "hurdles": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "use": "research use only; not a medical device",
    }


def _files(page: str | Path | None) -> list[Path]:
    """Return the page and what is written beside it."""
    if page is None:
        return []
    kinds = [".csv"] if Path(page).suffix == ".md" else [".json", ".csv"]
    return [Path(page), *(Path(page).with_suffix(kind) for kind in kinds)]


def _write(findings: Findings, path: Path, title: str, images: Material, pictures: bool) -> None:
    from hurdles.reporting.findings import findings_markdown
    from hurdles.reporting.findings_page import write_findings

    if path.suffix == ".md":  # for a repository, where the paths in the JSON mean nothing
        write_text(path.with_suffix(".csv"), as_csv(findings.frame))
        write_text(path, findings_markdown(findings, title=title))
        return
    findings.save(path.with_suffix(".json"))
    shown = {each.image for row in findings.rows for each in row.evidence if pictures}
    names = enumerate(images.manifest.frame["image"])
    thumbnails = {name: images.pixels[row] for row, name in names if name in shown}
    write_findings(findings, path, title=title, thumbnails=thumbnails)


def _write_for_servers(
    findings: Findings, sarif: str | Path | None, junit: str | Path | None
) -> None:
    """Write findings for continuous integration, where that is wanted."""
    from hurdles.reporting.junit import findings_junit
    from hurdles.reporting.sarif import findings_sarif

    if sarif is not None:
        write_text(sarif, findings_sarif(findings))
    if junit is not None:
        write_text(junit, findings_junit(findings))


def calibrate_audit(
    out: str | Path,
    *,
    fast: bool = False,
    workers: int = 2,
    real: str | Path | None = None,
    results: str | Path | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Calibration:
    """Measure how often every hurdle cries wolf, and how often it sees a known shortcut.

    Parameters
    ----------
    out : path
        Folder of the phantoms and the trials; what is there is not computed again.
    fast : bool
        Far fewer cohorts: enough to see that it works, not to set limits.
    workers : int
        Processes, each on one thread.
    real : path, optional
        Folder of public collections (as ``$HURDLES_DATA``): shortcuts are planted into real images
        as well.
    results : path, optional
        Folder of the page, the tables and the limits; default: `out`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Calibration
        False alarms and power of every hurdle, with intervals, and the limits that follow.

    Raises
    ------
    RunError
        If `out` holds trials of other hurdles.
    """
    from hurdles.calibrating.calibration import calibrate_audit as calibrate
    from hurdles.calibrating.page import calibration_files, write_calibration

    folder = Path(results or out)
    cohort_file = [] if real is None else [Path(out) / "real.npz"]
    with outputs(*calibration_files(folder), *cohort_file, force=force):
        calibration = calibrate(
            Path(out),
            profile="fast" if fast else "full",
            workers=workers,
            real=None if real is None else Path(real),
            options=options,
        )
        write_calibration(calibration, folder)
        return calibration
