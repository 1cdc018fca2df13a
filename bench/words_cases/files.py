"""Nothing is destroyed, and nothing damaged is used."""

from __future__ import annotations

import tempfile
from pathlib import Path

from words_cases import case, command

_DAMAGED = "Nothing damaged is used"
_DESTROYED = "No output destroys an input or a file of the user's"


def _phantom(patients: int = 12) -> Path:
    """Return the table of a small phantom in a folder of its own."""
    from hurdles.phantom import write_phantom

    folder = Path(tempfile.mkdtemp())
    write_phantom(folder, patients, seed=1, size=64)
    (folder / "manifest.csv").rename(folder / "my.csv")
    return folder / "my.csv"


def _kept(path: Path, before: bytes, code: int) -> str:
    kept = path.is_file() and path.read_bytes() == before
    return f"{'kept' if kept else 'DESTROYED'}, exit code {code}"


@case(_DESTROYED, "check my.csv --out my.html, which also writes my.csv", "kept, exit code 2")
def table_beside_the_page() -> str:
    table = _phantom()
    before = table.read_bytes()
    said = command("check", table, "--hurdle", "size", "--out", table.with_suffix(".html"))
    return _kept(table, before, said.code)


@case(_DESTROYED, "lineage one.png's folder --out one.png --force", "kept, exit code 2")
def radiograph_as_output() -> str:
    table = _phantom()
    image = sorted(table.parent.rglob("*.png"))[0]
    before = image.read_bytes()
    force = ["--force"] if "--force" in command("lineage", "--help").out else []
    return _kept(image, before, command("lineage", table, "--out", image, *force).code)


@case(_DESTROYED, "check my.csv --out thesis.html, a page of somebody else's", "kept, exit code 2")
def page_of_somebody_else() -> str:
    table = _phantom()
    page = table.with_name("thesis.html")
    page.write_text("three years of work")
    said = command("check", table, "--hurdle", "size", "--out", page)
    return _kept(page, b"three years of work", said.code)


@case(
    _DAMAGED,
    "one byte of the pixels in a cache pack is flipped",
    "the pixels of the files",
)
def flipped_byte_in_a_pack() -> str:
    import numpy as np

    from hurdles.data.manifest import Manifest
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    images, folder = Manifest.load(_phantom()), Path(tempfile.mkdtemp())
    right = np.array(prepare(images, Preparation(32), cache=folder).pixels)
    (pack,) = folder.rglob("*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 128
    pack.write_bytes(content)
    same = np.array_equal(prepare(images, Preparation(32), cache=folder).pixels, right)
    return "the pixels of the files" if same else "other pixels, without a word"


@case(_DAMAGED, "who may read the patients' pixels in a new cache", "the user alone")
def rights_of_the_cache() -> str:
    from hurdles.data.manifest import Manifest
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    folder = Path(tempfile.mkdtemp()) / "cache"
    prepare(Manifest.load(_phantom()), Preparation(32), cache=folder)
    (pack,) = folder.rglob("*.pack")
    rights = {oct(each.stat().st_mode & 0o77) for each in (folder, pack.parent)}
    return "the user alone" if rights == {"0o0"} else "everybody"


@case(
    _DAMAGED, "one byte of a run's predictions is flipped, then hurdles report", "refused by name"
)
def damaged_predictions() -> str:
    table = _phantom(24)
    recipe = table.with_name("tiny.toml")
    recipe.write_text(
        'name = "tiny"\n[preparation]\nsize = 16\n[split]\nfractions = [0.5, 0.25, 0.25]\n'
        "[training]\nepochs = 1\n[evaluation]\nresamples = 100\n"
    )
    run = table.with_name("run")
    made = command("run", recipe, "--data", table, "--out", run, "--quiet")
    if made.code:
        return made.err
    path = run / "predictions" / "test.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"0,", 1))
    said = command("report", run)
    if said.code == 2 and "test.csv" in said.err and "Traceback" not in said.err:
        return "refused by name"
    return f"exit code {said.code}: {(said.err.strip().splitlines() or ['a report'])[-1]}"


@case(_DAMAGED, "a recipe with epochs = 10^23", "refused")
def endless_epochs() -> str:
    from hurdles.errors import RecipeError
    from hurdles.recipe.recipe import Recipe

    try:
        Recipe(name="x").changed(training={"epochs": 10**23})
    except RecipeError:
        return "refused"
    return "taken"


@case(_DAMAGED, "best of a NaN epoch that names all images rightly, and one with a loss", "epoch 2")
def epoch_that_is_no_number() -> str:
    from hurdles.training.history import COLUMNS, History

    rows = [
        {**dict.fromkeys(COLUMNS, 0.0), "epoch": n, "validation_accuracy": a, "validation_loss": b}
        for n, a, b in ((1, 1.0, float("nan")), (2, 0.7, 0.6))
    ]
    return f"epoch {History.from_rows(rows).best_epoch}"


@case(_DAMAGED, "the weights of one network, written by three processes", "the same bytes")
def bytes_of_weights() -> str:
    import subprocess
    import sys

    folder = Path(tempfile.mkdtemp())
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from hurdles.training.checkpoint import save_weights\n"
        "meta = {str(n): 'x' * n for n in range(9)}\n"
        "save_weights(Path(sys.argv[1]), {'a': torch.arange(4.0)}, meta)"
    )
    for name in "abc":
        subprocess.run([sys.executable, "-c", program, str(folder / name)], check=True)
    contents = {path.read_bytes() for path in folder.iterdir()}
    return "the same bytes" if len(contents) == 1 else "other bytes each time"


@case(
    "Nothing hangs, nothing is obeyed",
    "a table that names a pipe, a device and a name with NUL beside 6 radiographs",
    "6 images, 3 exclusions",
)
def pipes_and_devices() -> str:
    import os
    import signal

    import pandas as pd

    from hurdles.data.manifest import Manifest
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    table = _phantom()
    pipe = table.with_name("pipe.png")
    os.mkfifo(pipe)
    paths = [*Manifest.load(table).frame["path"][:6], str(pipe), os.devnull, "nul\0byte.png"]
    images = Manifest(pd.DataFrame({"image": paths, "path": paths, "label": "x"}))
    signal.alarm(60)
    found = prepare(images, Preparation(32), cache=table.parent / "cache").manifest
    return f"{len(found)} images, {len(found.exclusions)} exclusions"


@case(
    "Nothing hangs, nothing is obeyed",
    "a class folder whose name holds an escape sequence, on the terminal",
    "shown as \\x1b",
)
def escape_sequence() -> str:
    import shutil

    table = _phantom()
    for n, label in enumerate(("a\x1b[31mb", "plain")):
        folder = table.parent / "own" / label
        folder.mkdir(parents=True)
        for image in sorted(table.parent.glob("*/*.png"))[5 * n : 5 * n + 5]:
            shutil.copy(image, folder)
    said = command("manifest", table.parent / "own")
    return "obeyed" if "\x1b" in said.out else "shown as \\x1b" if "\\x1b" in said.out else said.err


@case(
    "Nothing hangs, nothing is obeyed",
    "a table with a file name of 500 characters",
    "1 image, 1 exclusion",
)
def name_of_500_characters() -> str:
    from hurdles.data.reading import read_manifest

    table = _phantom()
    image = sorted(table.parent.rglob("*.png"))[0]
    own = table.with_name("own.csv")
    own.write_text(f"path,label\n{image},x\n{'a' * 500}.png,x\n")
    found = read_manifest(own)
    return f"{len(found)} image, {len(found.exclusions)} exclusion"


@case("Nothing hangs, nothing is obeyed", "a recipe of 5,000 opening brackets", "refused")
def deep_recipe() -> str:
    from hurdles.errors import RecipeError
    from hurdles.recipe.recipe import load_recipe

    path = Path(tempfile.mkdtemp()) / "deep.toml"
    path.write_text("name = " + "[" * 5000)
    try:
        load_recipe(path)
    except RecipeError:
        return "refused"
    return "taken"


@case(
    "Nothing hangs, nothing is obeyed", "a class called =1+1, in the CSV of hurdles check", "text"
)
def formula_in_a_cell() -> str:
    import csv

    table = _phantom()
    text = table.read_text().replace("Normal", "=1+1")
    table.write_text(text)
    page = table.with_name("page.html")
    command("check", table, "--hurdle", "patients", "--hurdle", "size", "--out", page)
    with page.with_suffix(".csv").open(newline="") as handle:
        cells = [cell for row in csv.reader(handle) for cell in row]
    return "a formula" if any(cell[:1] in ("=", "+", "@") for cell in cells) else "text"


@case(
    "What a user is told",
    "compare of two runs of two classes: rows of the table, sentence at the end",
    "9 rows, a sentence",
)
def two_classes_compared() -> str:
    import numpy as np

    from hurdles.evaluation.comparisons import compare, holm
    from hurdles.evaluation.predictions import Predictions
    from hurdles.reporting.console import comparison_lines

    rng = np.random.default_rng(0)
    names = [f"{n}.png" for n in range(80)]
    a, b = (
        Predictions.from_arrays(
            ["A", "B"],
            y_true=["A", "B"] * 40,
            y_prob=np.column_stack([chance, 1 - chance]),
            images=names,
            groups=names,
        )
        for chance in rng.random((2, 80))
    )
    found = compare(a, b)
    last = list(comparison_lines(found, holm([c.p_value for c in found])))[-1]
    return f"{len(found)} rows, {'a sentence' if last.startswith('Inconclusive: ') else last}"


@case(
    "What a user is told",
    "run --encoder-from model.pt, somebody else's weights",
    "refused, without asking for the file to be deleted",
)
def weights_of_somebody_else() -> str:
    table = _phantom()
    model = table.with_name("model.pt")
    model.write_bytes(b"PK\x03\x04" + bytes(200))
    said = command(
        "run", "demo", "--data", table, "--encoder-from", model, "--out", table.with_name("run")
    )
    words = " ".join((said.out + said.err).split())
    if "delete" in words.lower() or not model.is_file():
        return f"told to delete it: {words[-200:]}"
    refused = said.code == 2 and "Traceback" not in words
    return "refused, without asking for the file to be deleted" if refused else words[-200:]


@case("What a user is told", "a page with --no-images", "no picture of a radiograph in it")
def page_without_pictures() -> str:
    table = _phantom()
    page = table.with_name("page.html")
    calls = [["check", table, "--out", page, "--quiet"], ["--no-images"]]
    said = command(*calls[0], *calls[1])
    if not page.is_file():
        return said.err.strip().splitlines()[-1][:80]
    held = "data:image" in page.read_text()
    return "pictures in it" if held else "no picture of a radiograph in it"
