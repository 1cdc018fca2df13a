"""Verbs of the hurdles: for data, for a model, and for the hurdles themselves."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles._version import USE, __version__
from hurdles.data.files import outputs, write_text
from hurdles.data.inputs import Input, Role
from hurdles.data.untrusted import as_csv
from hurdles.errors import EvaluationError
from hurdles.findings.limits import limits_input
from hurdles.findings.table import Findings
from hurdles.progress import Options
from hurdles.runs.images import Data, classified, files_of, title_of
from hurdles.runs.inputs import image_inputs
from hurdles.runs.presentation import write_page
from hurdles.runs.run import Run

if TYPE_CHECKING:
    from hurdles.auditing.doors import Classifier
    from hurdles.auditing.material import Material, Model
    from hurdles.calibrating.calibration import Calibration
    from hurdles.foreign.spec import Spec

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
        images = classified(
            data, labels=labels, columns=columns, join_patients=join_patients, unlabeled=True
        )
        name = title_of(data)
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
    model: Run | Model | Classifier | str | Path | None = None,
    *,
    predictions: str | Path | None = None,
    command: str | None = None,
    data: Data | None = None,
    spec: Spec | str | Path | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    size: int | None = None,
    expect: str | Path | None = None,
    trained_on: Data | None = None,
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
    time_limit: float | None = None,
    ask_anew: bool = False,
    force: bool = False,
    options: Options | None = None,
) -> Findings:
    """Put a model through the hurdles: a run, a file, a program, a function, or its predictions.

    Exactly one of `model`, `predictions` and `command` is given. A hurdle that needs more than was
    brought says by name what it lacks.

    Parameters
    ----------
    model : Run, path, callable or Model, optional
        A finished run, or its folder: ``audit.json``, ``audit.csv`` and ``audit.html`` are written
        into it, and its report gets a section; both stay as they are where only some `hurdles` are
        run and the audit there asked others, too. Or an ONNX file, with its `spec`. Or a function
        from float32 images of shape (n, size, size) within [0, 1] to probabilities (n, K), with
        `classes`. Or anything with the attributes of `hurdles.auditing.material.Model`.
    predictions : path, optional
        A table with a row per image: a probability for each class, or of the positive one, or
        decisions. Without `data` it says the true class too, and may say the patient, source, view,
        sex, age and split.
    command : str, optional
        A program, as ``python predict.py {images} {out}``, that is given a folder of PNGs and
        writes a table; see `hurdles.foreign.command.CommandModel`.
    data : Data, optional
        Images that the model is judged on, as for `check`; not of a run, which knows its own. With
        a split, the part ``test`` is judged.
    spec : Spec or path, optional
        How an ONNX file takes a radiograph; default: what `export` wrote into it.
    classes : sequence of str, optional
        Of a function, in the order of its columns; of a program or a table, default: those of the
        images.
    positive : str, optional
        Of two classes, the one whose probability a table gives.
    size : int, optional
        Side of the images that a function (224) or a program (512) is given, in pixels.
    expect : path, optional
        Your own predictions of `data` by this model: it is asked about its own images first, and
        audited only if it answers as there.
    trained_on : Data, optional
        Images that the model was trained on. Copies of them are left out.
    on : Data, optional
        Other collections, each a test set of its own. Of images without classes (a folder of
        nothing but images, a table without a class) it is forecast how the model does there.
    seeds : sequence of Run or path
        Runs of the same recipe that differ in ``training.seed`` only; or, with `predictions`,
        tables of the same model trained with other seeds.
    out : path, optional
        Where to write the page; as for `check`.
    hurdles : sequence of str, optional
        Only these; default: all.
    own : sequence of path
        Python files with hurdles of one's own, which are run as well.
    labels : mapping, optional
        Classes of the images, of a run of the other collections -> classes of the model; see `run`.
    columns : mapping, optional
        Columns of the tables -> columns of a manifest; see `run`. With `predictions`, a column may
        be called ``image``, ``prediction`` or ``p:<class>``, too.
    sarif, junit : path, optional
        Where to write the findings as SARIF 2.1.0 and as JUnit XML, for continuous integration.
    pictures : bool
        Show the radiographs to look at on the page: patients' pixels, which go where it goes.
    time_limit : float, optional
        Seconds after which a start of the program is ended; default: 300, and 2 for each image.
    ask_anew : bool
        Forget what the program answered in an earlier audit.
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
    SpecError, ModelError
        If a model cannot be asked, or does not answer as expected.
    HurdleError
        If what was given does not go together.
    RegistryError
        If no hurdle has a name that was given.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.auditing.doors import Given, door_of
    from hurdles.auditing.hurdle import load_hurdles, run_hurdles
    from hurdles.auditing.model import MODEL_HURDLES

    options = options or Options()
    given = Given(
        model=model,
        predictions=predictions,
        command=command,
        data=data,
        spec=spec,
        classes=classes,
        positive=positive,
        size=size,
        expect=expect,
        trained_on=trained_on,
        on=on,
        seeds=seeds,
        labels=labels,
        columns=columns,
        time_limit=time_limit,
        ask_anew=ask_anew,
    )
    door = door_of(given)
    run = door.run
    own_page = None if run is None else run.path / "audit.html"
    kept = [] if run is None else kept_hurdles(run, hurdles)
    pages = [Path(out)] if out is not None else []
    if own_page is not None:
        pages = [page for page in pages if page.absolute() != own_page.absolute()]
        pages = pages if kept else [own_page, *pages]
    written = [file for page in pages for file in _files(page)]
    written += [run.report_path] if run is not None and not kept else []
    ledger = None if run is None else run.ledger
    inputs = [*own, *door.files]
    with outputs(*written, sarif, junit, inputs=inputs, ledger=ledger, force=force):
        load_hurdles(own)
        for name in hurdles or ():
            MODEL_HURDLES.get(name)
        wanted = map(MODEL_HURDLES.get, hurdles or MODEL_HURDLES)
        lungs = any(hurdle.lungs for hurdle in wanted)
        subject, about, of_door = door.subject(options, lungs=lungs)
        made_of = [*of_door, *_rules(own)]
        # What is found is kept, also if the audit is interrupted after it.
        record = None if own_page is None or kept else own_page.with_suffix(".json")
        findings = run_hurdles(
            MODEL_HURDLES,
            subject,
            names=hurdles,
            about=_about(subject.material.name, len(subject.material)) | about,
            progress=options.listener,
            after_each=None if record is None else lambda some: some.made_of(made_of).save(record),
        ).made_of(made_of)
        for path in pages:
            title = f"Hurdles for a model: {door.title}"
            _write(findings, path, title, subject.material, pictures)
        _write_for_servers(findings, sarif, junit)
        if run is None:
            return findings
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
        "use": USE,
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
    pictures = pictures and images.has_images
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
    profile: str = "full",
    workers: int = 2,
    real: str | Path | None = None,
    results: str | Path | None = None,
    hours: float | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Calibration:
    """Measure how often every hurdle cries wolf, and how often it sees a known shortcut.

    Parameters
    ----------
    out : path
        Folder of the phantoms and the trials; what is there is not computed again.
    profile : str
        ``full``; ``half``, a part of it, with which a later ``full`` goes on; ``fast``: far fewer
        cohorts, enough to see that it works, not to set limits.
    workers : int
        Processes, each on one thread.
    real : path, optional
        Folder of public collections (as ``$HURDLES_DATA``): shortcuts are planted into real images
        as well.
    results : path, optional
        Folder of the page, the tables and the limits; default: `out`.
    hours : float, optional
        When no further fresh cohort is begun: results are of those that are there, and say how many
        are left. Limits need all of theirs, and wait for them. Default: all.
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
        If `out` holds trials or real images of other cohorts, or trials of hurdles that measure
        otherwise; if `hours` are less than none.
    RegistryError
        If no profile has that name.
    """
    from hurdles.calibrating.calibration import calibrate_audit as calibrate
    from hurdles.calibrating.page import calibration_files, write_calibration

    folder = Path(results or out)
    with outputs(*calibration_files(folder), force=force):
        calibration = calibrate(
            Path(out),
            profile=profile,
            workers=workers,
            real=None if real is None else Path(real),
            hours=hours,
            options=options,
        )
        write_calibration(calibration, folder)
        return calibration
