"""The command line: results on stdout, everything else on stderr, and help that teaches."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hurdles import cli
from hurdles.data.manifest import Manifest
from hurdles.phantom.cohort import write_phantom

VERBS = {
    "demo": ["--out", "--json"],
    "collections": ["--data", "--json"],
    "manifest": ["--out", "--label", "--column", "--join-patients", "--json"],
    "run": [
        "--data",
        "--out",
        "--resume",
        "--split",
        "--encoder-from",
        "--remedy",
        "--label",
        "--column",
        "--missing-patients",
        "--join-patients",
        "--set",
        "--on-bad",
        "--cache",
        "--json",
    ],
    "recipes": ["--json"],
    "evaluate": [
        "--on",
        "--name",
        "--merge",
        "--prevalence",
        "--specificity",
        "--sensitivity",
        "--benefit-at",
        "--label",
        "--column",
        "--keep-seen",
        "--no-images",
        "--force",
        "--json",
    ],
    "explain": ["--out", "--method", "--target", "--json"],
    "compare": ["--on", "--metric", "--margin", "--json"],
    "report": ["--on", "--no-images", "--force", "--json"],
    "embed": ["--on", "--out", "--method", "--label", "--column", "--json"],
    "segment": ["--out", "--weights", "--json"],
    "train-lungs": ["--out", "--data", "--measure", "--other", "--column", "--force", "--json"],
    "check": [
        "--out",
        "--hurdle",
        "--own",
        "--label",
        "--column",
        "--lungs",
        "--join-patients",
        "--fail-on",
        "--sarif",
        "--junit",
        "--json",
    ],
    "audit": [
        "--on",
        "--seed-run",
        "--hurdle",
        "--own",
        "--label",
        "--column",
        "--fail-on",
        "--sarif",
        "--junit",
        "--json",
    ],
    "verify": ["--against", "--data", "--label", "--column", "--join-patients", "--json"],
    "badge": ["--out", "--force", "--json"],
    "lineage": ["--out", "--fingerprint", "--column", "--json"],
    "fingerprint": ["--out", "--name", "--column", "--json"],
    "calibrate-audit": ["--out", "--profile", "--workers", "--real", "--results", "--json"],
    "study": [
        "--out",
        "--data",
        "--fast",
        "--profile",
        "--cells",
        "--results",
        "--dry-run",
        "--json",
    ],
}


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")

    def invoke(*arguments: object, code: int = 0):
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result

    return invoke


@pytest.fixture
def main(monkeypatch, capsys):
    """Return a function that calls `main` as the console script does."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hurdles", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"\d") as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def strict(text: str):
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_verb_is_listed(call):
    text = call("--help").stdout
    assert all(re.search(rf"\b{verb}\b", text) for verb in VERBS)
    assert "Research use only" in text


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches(call, verb):
    text = call(verb, "--help").stdout
    for option in VERBS[verb]:
        assert option in text
    assert len(text.split()) > 30
    assert "\x1b[" not in text


def test_the_help_of_run_names_every_remedy():
    from hurdles.cli.experiments import _REMEDIES
    from hurdles.recipe.remedies import REMEDIES

    assert re.findall(r"[a-z]+(?:-[a-z]+)*", _REMEDIES.replace("or ", "")) == list(REMEDIES)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["spec", "--help"]])
def test_help_is_quick_for_it_imports_nothing_heavy(words):
    code = (
        f"import sys\nfrom hurdles.cli import main\nsys.argv[1:] = {words}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'cv2', 'pandas', 'numpy', 'matplotlib', 'captum', 'sklearn', 'rich',"
        "         'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_command_is_the_same_where_the_others_are_only_mentioned(call, verb):
    alone = CliRunner().invoke(cli.command_line(verb), [verb, "--help"])
    assert alone.stdout == call(verb, "--help").stdout
    assert CliRunner().invoke(cli.command_line(verb), ["--version"]).exit_code == 0


def test_two_dashes_may_stand_before_a_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hurdles", "--", "recipes", "--json"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert capsys.readouterr().out.startswith('{\n "covid-small"')


def test_commands_are_listed_under_their_titles(call):
    text = call("--help").stdout
    places = [text.index(f"\n{title}:\n") for title in ("Begin", "Images", "Models", "Hurdles")]
    assert places == sorted(places)
    assert CliRunner().invoke(cli.command_line("--help"), ["--help"]).stdout == text
    assert "Did you mean 'audit'?" in call("audt", code=2).stderr


def test_a_command_may_stand_behind_two_dashes(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hurdles", "--", "recipes"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "small-data" in capsys.readouterr().out


def test_collections(call):
    rows = strict(call("collections", "--json").stdout)
    text = call("collections").stdout
    assert len(rows) >= 11
    for row in rows:
        assert f"{row['name']}: {row['title']}" in text
        assert row["license"] in text


def test_recipes(call):
    assert "demo" in strict(call("recipes", "--json").stdout)
    assert strict(call("recipes", "demo", "--json").stdout)["name"] == "demo"
    assert "# Most epochs that are run." in call("recipes", "demo").stdout


def test_manifest(call, phantom, tmp_path):
    found = strict(call("manifest", phantom, "--json").stdout)
    assert found["images"] == sum(found["labels"].values()) == found["with_mask"]
    text = call("manifest", phantom, "--out", tmp_path / "m.csv").stdout
    assert f"{found['images']} images: COVID-19" in text
    assert (tmp_path / "m.csv").is_file()


def test_the_main_job(call, phantom, other_phantom, tiny, tmp_path):
    recipe, out = tmp_path / "r.toml", tmp_path / "run"
    recipe.write_text(tiny.to_toml(), encoding="utf-8")
    done = call("run", recipe, "--data", phantom, "--out", out)
    assert "accuracy" in done.stdout
    assert done.stdout.rstrip().endswith("Research use only; not a medical device.")
    assert "Training: 0 of" in done.stderr
    assert "Training" not in done.stdout
    again = call("run", recipe, "--out", out, "--resume", "--json", "--quiet")
    assert strict(again.stdout)["report"] == str(out / "report.html")
    assert again.stderr == ""
    tested = call("evaluate", out, "--on", other_phantom, "--json", "-q")
    assert strict(tested.stdout)["report"] == str(out / "report.other.html")
    compared = strict(call("compare", out, out, "--json").stdout)
    assert {"metric", "difference", "p_value", "p_holm"} <= set(compared[0])
    again = call("evaluate", out, "--prevalence", "COVID-19=0.02", "--benefit-at", "0.1", "-q")
    assert "PPV at a prevalence of 2 %" in again.stdout
    for name in ("one", "two"):
        Manifest.load(other_phantom).save(tmp_path / f"{name}.csv")
    named = ("--on", tmp_path / "one.csv", "--on", tmp_path / "two.csv")
    apart = call("evaluate", out, *named, "--json", "-q")
    assert {n: one["report"] for n, one in strict(apart.stdout).items()} == {
        n: str(out / f"report.{n}.html") for n in ("one", "two")
    }
    assert "== two" in call("evaluate", out, *named, "-q").stdout
    merged = call("evaluate", out, "--on", other_phantom, "--merge", "all", "--json", "-q")
    assert strict(merged.stdout)["report"] == str(out / "report.all.html")
    judged = call("compare", out, out, "--metric", "auc", "--margin", "0.02", "--json")
    assert {row["margin"] for row in strict(judged.stdout)} == {0.02}
    assert "Is A no worse than B?" in call("compare", out, out, "--margin", "auc=0.02").stdout
    table = call("compare", out, out).stdout
    assert "p, Holm" in table
    assert "Interval and p are of one row alone" in table
    assert call("report", out).stdout == f"{out / 'report.html'}\n"
    image = next((phantom.parent / "Normal").glob("*.png"))
    explained = call("explain", out, image, "--out", tmp_path / "e.png", "--json", "-q")
    assert strict(explained.stdout)[0]["image"] == str(image)
    either = call("explain", out, image, "--method", "smoothgrad", "--json", "-q",
                  "--out", tmp_path / "s.png")  # fmt: skip
    assert strict(either.stdout)[0]["target"] == ""
    assert strict(either.stdout)[0]["speaks"].startswith("for or against ")
    lost = call("explain", out, image, phantom, "--on-bad", "skip", "--json", "-q",
                "--out", tmp_path / "e.png")  # fmt: skip
    assert [r["status"] for r in strict(lost.stdout)][1] == "unreadable"


def test_classes_are_called_as_the_user_says(call, phantom, tiny, tmp_path):
    recipe, out = tmp_path / "r.toml", tmp_path / "run"
    recipe.write_text(tiny.to_toml(), encoding="utf-8")
    named = ["--label", "Pneumonia=other", "--label", "Normal=other"]
    done = call("run", recipe, "--data", phantom, "--out", out, *named, "--json", "-q")
    assert strict(done.stdout)["classes"] == ["COVID-19", "other"]


def test_lungs_are_found_and_what_is_no_image_is_listed(call, phantom, tmp_path):
    images = sorted((phantom.parent / "Normal").glob("*.png"))[:2]
    done = call("segment", *images, phantom, "--out", tmp_path / "lungs")
    assert f"unreadable: {phantom}" in done.stdout
    assert re.search(r"lungs in 3 images: \d ok, \d flagged, 1 unreadable", done.stdout)
    assert "research use only" in done.stdout
    rows = strict(call("segment", *images, "--out", tmp_path / "more", "--json", "-q").stdout)
    for row in rows:
        assert (tmp_path / "more" / row["mask"]).is_file()
    assert (tmp_path / "more" / "sheet.png").is_file()
    assert f"{tmp_path / 'lungs' / 'sheet.png'}; research use only" in done.stdout
    nothing = call("segment", phantom, "--out", tmp_path / "none", "-q")
    assert "sheet" not in nothing.stdout


def test_features_are_drawn_and_probed(call, finished, phantom, tmp_path):
    on = ["--on", phantom]
    found = strict(call("embed", finished.path, *on, "--out", tmp_path, "--json", "-q").stdout)
    assert found["n_seen"] > 0
    assert found["figure"] == str(tmp_path / "embedding.png")
    assert (tmp_path / "embedding.png").stat().st_size > 10_000
    text = call("embed", finished.path, *on, "--out", tmp_path).stdout
    assert "How well a linear probe tells the collection" in text


def test_a_study_says_what_it_would_do(call, tmp_path, monkeypatch):
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    folder = tmp_path / "chest_xray"
    write_phantom(folder / "images", 4, seed=3, size=32)
    arguments = ("study", "lazaro-barco-2020", "--data", folder / "images" / "manifest.csv")
    rows = strict(call(*arguments, "--out", tmp_path / "s", "--dry-run", "--json").stdout)
    assert {row["status"] for row in rows} == {"to do"}
    assert len(rows) == 21
    assert "21 to do" in call(*arguments, "--out", tmp_path / "s", "--dry-run").stdout
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nosuch"], "RunError: nosuch is not a folder"),
        (["run", "nosuch", "--out", "r"], "RecipeError: 'nosuch' is neither a file"),
        (["run", "small-data", "--out", "r"], "ManifestError: which images?"),
        (["study", "nosuch", "--out", "r"], "RegistryError: no study is called 'nosuch'"),
        (["manifest", "nosuch"], "nosuch"),
        (["evaluate", "r", "--prevalence", "flu"], "EvaluationError: 'flu' is no prevalence"),
        (["evaluate", "r", "--benefit-at", "2"], "EvaluationError: benefit_at is 2.0; give a"),
        (["segment", "nosuch", "--out", "r"], "nosuch"),
        (["embed", "nosuch", "--on", "x", "--out", "r"], "RunError: nosuch is not a folder"),
        (["train-lungs", "--data", "nosuch", "--out", "r"], "nosuch"),
        (
            [
                "run",
                "pneumonia-small",
                "--data",
                "phantom",
                "--out",
                "r",
                "--encoder-from",
                "nosuch",
            ],
            "RunError: nosuch is not a folder",
        ),
    ],
)
def test_an_error_is_one_sentence_on_stderr(main, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = main(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_wrong_label_pair_is_a_usage_error(main, finished, other_phantom):
    code, out, err = main("evaluate", finished.path, "--on", other_phantom, "--label", "x")
    assert (code, out) == (2, "")
    assert "THEIRS=OURS" in err


def test_too_little_memory_is_one_sentence(main, monkeypatch):
    def fails(*_arguments, **_options):
        raise MemoryError("Unable to allocate 3.7 TiB")

    monkeypatch.setattr("hurdles.verify", fails)
    code, out, err = main("verify", "page.json")
    assert (code, out) == (2, "")
    assert err.startswith("MemoryError: this takes more memory than there is (Unable to allocate")


def test_a_seed_that_cannot_be_is_one_sentence(main, tmp_path):
    words = ["fit-head", "f.npy", "--data", tmp_path, "--out", tmp_path / "head", "--seed", -1]
    code, out, err = main(*words)
    assert (code, out) == (2, "")
    assert "RecipeError: recipe of a linear head: split.seed" in err


def test_the_version(call):
    import hurdles

    assert call("--version").stdout == f"hurdles {hurdles.__version__}\n"


def test_a_file_where_a_folder_is_needed_is_said_to_be_one(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").write_text("mine")
    code, _, err = main("run", "small-data", "--data", "phantom", "--out", "r")
    assert code == 2
    assert "is a file; give the name of a folder by --out." in err
    assert "space" not in err
    assert (tmp_path / "r").read_text() == "mine"
