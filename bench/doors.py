"""Every door of the audit, on the same images: what is found, how long it takes.

A network of hurdles is trained on the Radiography Database by the shipped recipe of Lázaro and
Barco's baseline, smaller and shorter; beside it, on the same split, their network in Keras and a
scikit-learn pipeline on thumbnails, as their users would write them (``bench/peers``, with an
environment of its own). Then each goes through its door by one command, and the page
``docs/results/doors.md`` sets the findings and the times side by side:

    pip install -r bench/peers/requirements.txt   # into the environment of --peers
    python bench/doors.py DATA --out STATE --peers PYTHON

DATA is the folder of public collections, as ``$HURDLES_DATA``. What is in STATE is not done again;
a door is timed again by ``--again``. The run's own door is timed first and last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import tomli_w

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SIZE, EPOCHS = "80", "8"
PACKAGES = ("hurdles", "numpy", "torch", "onnx", "onnxruntime")

#: What has to be there before: the file that shows it, and the command.
STEPS = {
    "run/report.html": "hurdles run lazaro-barco-2020-baseline --set preparation.size="
    f"{SIZE} --set training.epochs={EPOCHS} --out run --resume",
    "lb.keras": f"python peers/lazaro_barco_keras.py run/manifest.csv --out lb.keras --size {SIZE} "
    f"--epochs {EPOCHS}",
    "thumbnails.joblib": "python peers/thumbnails.py train run/manifest.csv --model "
    "thumbnails.joblib",
    "run.onnx": "hurdles export run --out run.onnx",
}
DATA = "--data run/manifest.csv"
#: Doors: their command, and what goes through them.
DOORS = {
    "run": ("the run itself", "hurdles audit run"),
    "onnx": ("the same network, exported", f"hurdles audit --model run.onnx {DATA}"),
    "predictions": (
        "the same network's test predictions alone",
        "hurdles audit --predictions run/predictions/test.csv",
    ),
    "keras": (
        "Lázaro and Barco's network in Keras",
        "hurdles audit --model-command 'python peers/predict_keras.py {images} {out} --model "
        f"lb.keras' --size {SIZE} --expect lb.predictions.csv {DATA}",
    ),
    "thumbnails": (
        "logistic regression on 16x16 pixels (scikit-learn)",
        "hurdles audit --model-command 'python peers/thumbnails.py predict {images} {out} --model "
        f"thumbnails.joblib' --size {SIZE} --expect thumbnails.predictions.csv {DATA}",
    ),
}
#: Mistakes planted into the spec of the exported network, one at a time.
FAULTS: dict[str, dict[str, object]] = {
    "none": {},
    "gray inverted": {"inverted": True},
    "0 to 255 instead of 0 to 1": {"range": [0, 255]},
    "two classes exchanged": {"classes": ["Normal", "COVID-19", "Viral Pneumonia"]},
    "ImageNet's mean and SD": {"mean": 0.449, "sd": 0.226},
    "logits read as probabilities": {"output": "sigmoid"},
    "gray inverted, and two classes exchanged": {
        "inverted": True,
        "classes": ["Normal", "COVID-19", "Viral Pneumonia"],
    },
}
HURDLES = [sys.executable, "-c", "from hurdles.cli import main; main()"]


def call(command: str, folder: Path, env: dict[str, str], *more: str) -> tuple[float, str]:
    """Return the seconds that a command takes, and what it says on stderr; it must not fail."""
    words = [*shlex.split(command), *more]
    words = [*HURDLES, *words[1:]] if words[0] == "hurdles" else words
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command} ends with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done.stderr


def timed(name: str, state: Path, env: dict[str, str], again: bool) -> dict[str, object]:
    """Return how a door was gone through; done now if it was not."""
    record = state / f"door.{name}.json"
    if again or not record.is_file():
        command = DOORS[name.removesuffix("-last")][1]
        out = RESULTS / f"audit.door-{name}.md"
        more = [] if name.endswith("-last") else ["--out", str(out)]
        if "--model-command" in command:
            more.append("--ask-anew")
        seconds, said = call(command, state, env, *more, "--force")
        starts = re.findall(r"start \d+ of the program: ([\d,]+) images", said)
        asked = sum(int(count.replace(",", "")) for count in starts)
        plain = {"seconds": seconds, "starts": len(starts), "asked": asked}
        record.write_text(json.dumps(plain), encoding="utf-8")
    return dict(json.loads(record.read_text(encoding="utf-8")))


def faults(state: Path, env: dict[str, str]) -> list[str]:
    """Return a table of what `--expect` says of a spec with each mistake."""
    plain = tomllib.loads((state / "run.toml").read_text(encoding="utf-8"))
    (state / "faults").mkdir(exist_ok=True)
    lines = ["| planted | what is said |", "|---|---|"]
    for number, (fault, fields) in enumerate(FAULTS.items()):
        file = state / "faults" / f"{number}.toml"
        file.write_text(tomli_w.dumps(plain | fields), encoding="utf-8")
        command = f"hurdles audit --model run.onnx --spec faults/{number}.toml {DATA}"
        words = shlex.split(f"{command} --expect run/predictions/test.csv --hurdle calibration")
        done = subprocess.run(
            [*HURDLES, *words[1:]], cwd=state, env=env, capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if "the spec is" in line]
        lines.append(f"| {fault} | {said[0].removeprefix('SpecError: ') if said else 'nothing'} |")
        print(lines[-1])
    return lines


def largest_difference() -> tuple[float, str, int]:
    """Return the largest difference of a number between the run's and the export's findings."""
    import pandas as pd

    key = ["hurdle", "subject", "statistic"]
    one, two = (
        pd.read_csv(RESULTS / f"audit.door-{n}.csv").set_index(key) for n in ("run", "onnx")
    )
    apart = (one["value"] - two["value"]).abs().dropna()
    return float(apart.max()), " / ".join(apart.idxmax()[:2]), len(apart)


def verdicts() -> list[str]:
    """Return a table of the verdict of every hurdle at every door."""
    import pandas as pd

    order = ["failed", "hit", "inconclusive", "cleared", "shown", "could not run"]
    columns = {}
    for name in DOORS:
        frame = pd.read_csv(RESULTS / f"audit.door-{name}.csv")
        groups = frame.groupby("hurdle", sort=False)["verdict"]
        columns[name] = groups.agg(lambda v: min(v, key=order.index))
    table = pd.DataFrame(columns).reindex(columns["run"].index)
    lines = [f"| hurdle | {' | '.join(DOORS)} |", "|---" * (len(DOORS) + 1) + "|"]
    return lines + [f"| {hurdle} | {' | '.join(row)} |" for hurdle, row in
                    zip(table.index, table.to_numpy().tolist(), strict=True)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peers", type=Path, default=Path(sys.executable))
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    state = given.out.absolute()
    state.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "bench" / "peers", state / "peers", dirs_exist_ok=True)
    env = {
        **os.environ,
        "PATH": f"{given.peers.absolute().parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HURDLES_DATA": str(given.data.absolute()),
        "HURDLES_CACHE": str(state / "cache"),
        "KERAS_BACKEND": "torch",
    }
    for file, command in STEPS.items():
        if not (state / file).is_file():
            print(f"{call(command, state, env)[0]:7.0f} s  {command}")
    # The cache is warm for every door, and each is timed beside the run's own, before and after.
    times = {}
    for name in [*DOORS, "run-last"]:
        times[name] = timed(name, state, env, given.again)
        print(f"{times[name]['seconds']:7.1f} s  {name}")
    own = (float(times["run"]["seconds"]) + float(times["run-last"]["seconds"])) / 2
    apart, where, n = largest_difference()
    rows = []
    for name, (what, command) in DOORS.items():
        seconds = float(times[name]["seconds"])
        starts = f"{times[name]['starts']} ({times[name]['asked']:,} images)"
        starts = starts if times[name]["starts"] else ""
        rows.append(
            f"| [{name}](audit.door-{name}.md) | {what} | {seconds:.0f} | {seconds / own:.2f} | "
            f"{starts} | `{command}` |"
        )
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    spread = abs(float(times["run"]["seconds"]) - float(times["run-last"]["seconds"]))
    assert not math.isnan(apart)
    lines = [
        "# One audit, five doors",
        "",
        "Research use only; not a medical device. Written by `python bench/doors.py DATA --out "
        "STATE`; nothing is filled in by hand.",
        "",
        f"Trained on the Radiography Database, {SIZE}x{SIZE} pixels and {EPOCHS} epochs, on one "
        "split by image, as published; judged on its test part. The limits were measured on "
        "networks that hurdles trained, for other models that was not done: see each page.",
        "",
        "| door | model | seconds | of the run's own | starts of the program | command |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"The run's own door was timed first and last; the two differ by {spread:.0f} s. A "
        "program's answers are forgotten before it is timed. Before the doors: "
        + ", ".join(f"`{c}`" for c in STEPS.values()) + ".",
        "",
        f"The run's findings and those of its export: {n} numbers in both; the largest difference "
        f"is {apart:.2g} ({where}). `attention` is not among them: without gradients it is "
        "occlusion, and shown.",
        "",
        "## A spec with a mistake",
        "",
        "The spec of the exported network with one mistake each, held against the run's own "
        "predictions (`--expect`):",
        "",
        *faults(state, env),
        "",
        "## Verdicts",
        "",
        *verdicts(),
        "",
        f"{packages}; Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} processors.",
    ]  # fmt: skip
    (RESULTS / "doors.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
