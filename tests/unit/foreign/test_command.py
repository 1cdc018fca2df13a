"""A model that is a command: programs that do what they must, and programs that do not."""

import json
import re
import shlex
import stat
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from hurdles.errors import ModelError, OutputError
from hurdles.foreign import command as module
from hurdles.foreign.command import CommandModel

LABELS = ("sick", "well")
SIZE = 32

#: A user's program: logistic regression on a thumbnail, written without hurdles. `{body}` stands
#: where each test does what it is about, with `names` and `p`, the probability of sick.
PROGRAM = """
import os, sys, time
from pathlib import Path
import cv2
import numpy as np

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
names = sorted(os.listdir(folder))
images = [cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in names]
x = np.array([cv2.resize(i, (4, 4), interpolation=cv2.INTER_AREA).ravel() for i in images]) / 255
w = np.random.default_rng(7).normal(size=16)
p = 1 / (1 + np.exp(-((x - 0.5) * w).sum(axis=1)))
with open({count!r}, "a") as handle:
    handle.write(f"{{len(names)}}\\n")
print("model loaded")

def write(names, p, end=""):
    rows = "".join(f"{{n}},{{a!r}},{{1 - a!r}}\\n" for n, a in zip(names, map(float, p)))
    out.write_text("image,sick,well\\n" + rows + end)

{body}
"""


def expected(pixels):
    x = [cv2.resize(i, (4, 4), interpolation=cv2.INTER_AREA).ravel() for i in pixels]
    w = np.random.default_rng(7).normal(size=16)
    p = 1 / (1 + np.exp(-((np.array(x) / 255 - 0.5) * w).sum(axis=1)))
    return np.stack([p, 1 - p], axis=1)


def some(n, seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), dtype=np.uint8)


class Users:
    """A user's folder with a program in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = folder / "count.txt"

    def program(self, body="write(names, p)", name="predict.py"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROGRAM.format(count=str(self.count), body=body))
        return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {{images}} {{out}}"

    def model(self, command=None, labels=LABELS, **options):
        options = {"folder": self.folder / "kept", "size": SIZE, **options}
        return CommandModel(command or self.program(), labels, **options)

    @property
    def counts(self):
        """How many images each start was given."""
        return [int(n) for n in self.count.read_text().split()] if self.count.exists() else []


@pytest.fixture
def users(tmp_path):
    return Users(tmp_path)


class Listener:
    def __init__(self):
        self.lines = []

    def start(self, stage, total):
        self.lines.append(f"{stage}: {total}")

    def advance(self, steps=1, note=""):
        self.lines.append(f"+{steps} {note}")

    def say(self, line):
        self.lines.append(line)


# --- what works ---------------------------------------------------------------------------


def test_a_program_is_asked_and_its_answers_are_the_models(users):
    model, pixels = users.model(), some(20)
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))
    assert users.counts == [28]  # 8 of them twice
    assert model.labels == LABELS
    assert model.capabilities == {"answers"}
    assert model.preparation == "raw"
    assert model.difference == 0.0
    assert not list(model.folder.glob("images-*"))


def test_images_reach_the_program_without_a_loss(users):
    body = "np.savez(out.parent.parent.parent.parent / 'seen.npz', *images)\nwrite(names, p)"
    pixels = np.concatenate([some(5), np.zeros((1, SIZE, SIZE), np.uint8), some(1) // 128 * 255])
    users.model(users.program(body)).ask(pixels)
    seen = np.load(users.folder / "kept" / "seen.npz")
    seen = {image.tobytes() for image in seen.values() if image.dtype == np.uint8}
    assert seen == {image.tobytes() for image in pixels}


def test_many_questions_are_one_start_and_equal_images_one_question(users):
    model = users.model()
    a, b = some(10), some(10, seed=1)
    questions = [(a, None), (b, None), (a[:3], None), (np.concatenate([b, b]), None)]
    answers = list(model.ask_many(questions))
    for (pixels, _), answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer, expected(pixels))
    assert users.counts == [28]
    assert model.starts == 1
    assert list(model.ask_many([])) == []
    model.ask(a)
    assert model.starts == 1


@pytest.mark.parametrize("most", [3, 7, 20, 21])
def test_a_start_is_bounded_and_the_answers_are_the_same(users, most):
    model = users.model(images_per_start=most)
    questions = [(some(4, seed=s), None) for s in range(5)]
    for (pixels, _), answer in zip(questions, model.ask_many(iter(questions)), strict=True):
        np.testing.assert_array_equal(answer, expected(pixels))
    assert len(users.counts) == -(-20 // most)
    assert max(users.counts[1:], default=0) <= most


def test_a_start_is_bounded_in_bytes(users):
    assert users.model(bytes_per_start=10 * SIZE**2).images_per_start == 10
    assert users.model().images_per_start == 20_000
    assert users.model(size=1024).images_per_start == 2048


def test_questions_are_taken_one_by_one_as_there_is_room(users):
    model, taken = users.model(images_per_start=8), []

    def questions():
        for seed in range(4):
            taken.append(seed)
            yield some(4, seed=seed), None

    answers = model.ask_many(questions())
    next(answers)
    assert taken == [0, 1]
    answers.close()
    assert not list(model.folder.glob("images-*"))


def test_neither_names_nor_order_nor_times_tell_what_an_image_is(users):
    body = """
import json
seen = [(n, os.stat(folder / n).st_mtime, i.tobytes().hex()) for n, i in zip(names, images)]
(out.parent.parent.parent.parent / "seen.json").write_text(json.dumps(seen))
write(names, p)
"""
    light, dark = some(40) // 4 + 192, some(40, seed=1) // 4
    users.model(users.program(body)).ask(np.concatenate([light, dark]))
    seen = json.loads((users.folder / "kept" / "seen.json").read_text())
    assert [name for name, _, _ in seen] == [f"image-{n:06d}.png" for n in range(1, 89)]
    assert len({time for _, time, _ in seen}) == 1
    is_light = [bytes.fromhex(image)[0] > 128 for _, _, image in seen]
    runs = 1 + sum(a != b for a, b in pairwise(is_light))
    assert runs > 20  # in the order of the question it would be 2


def test_rows_in_another_order_and_other_columns_are_read_by_name(users):
    body = """
order = np.random.default_rng(0).permutation(len(names))
number = lambda x: repr(float(x)).replace(".", ",")
rows = "".join(f"{number(1 - p[i])};/in/{names[i]};{number(p[i])}\\n" for i in order)
out.write_text("\\ufeffwell;path;sick\\n" + rows)
"""
    pixels = some(12)
    np.testing.assert_allclose(
        users.model(users.program(body)).ask(pixels), expected(pixels), rtol=0, atol=1e-15
    )


def test_paths_with_spaces_and_quotes_work(users):
    folder = users.folder / "my 'own' models" / "größe"
    command = users.program(name="my 'own' models/größe/predict it.py")
    model, pixels = users.model(command, folder=folder / "kept here"), some(3)
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))
    assert str(folder / "predict it.py") in model.files


def test_a_shell_reads_the_command_only_if_it_is_named(users, tmp_path):
    marker = tmp_path / "marker"
    command = users.program() + f" '$(touch {marker})'"
    users.model(command).ask(some(2))
    assert not marker.exists()
    script = f"cd {shlex.quote(str(tmp_path))} && {users.program()} > said.txt"
    model, pixels = users.model(f"sh -c {shlex.quote(script)}"), some(3)
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))
    assert "model loaded" in (tmp_path / "said.txt").read_text()
    assert str(tmp_path / "predict.py") in model.files


def test_a_script_of_a_shell_gets_paths_with_spaces(users):
    script = users.program()
    model, pixels = (
        users.model(f"sh -c {shlex.quote(script)}", folder=users.folder / "a b"),
        some(2),
    )
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))


@pytest.mark.parametrize("name", ["answers.csv", "result.tsv"])
def test_a_container_is_given_folders(users, name):
    """With {out_dir} alone, any one table that lies there is taken."""
    body = f"""
folder_out = out
out = folder_out / {name!r}
write(names, p)
"""
    command = users.program(body).replace("{out}", "{out_dir}")
    model, pixels = users.model(command), some(3)
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))


def test_the_user_of_a_container_may_read_and_write_there_and_nobody_else_come_near(users):
    body = """
modes = [oct(os.stat(p).st_mode & 0o777) for p in (folder, out.parent, out.parent.parent.parent)]
(out.parent.parent.parent.parent / "modes").write_text(" ".join(modes))
write(names, p)
"""
    users.model(users.program(body)).ask(some(1))
    assert (users.folder / "kept" / "modes").read_text() == "0o755 0o777 0o700"
    assert stat.S_IMODE((users.folder / "kept").stat().st_mode) == 0o700


def test_what_it_prints_is_heard_and_kept(users):
    listener = Listener()
    model = users.model(
        users.program("print('batch 1 of 1'); time.sleep(.5); write(names, p)"), listener=listener
    )
    model.ask(some(2))
    assert listener.lines[0] == "start 1 of the program: 4 images"
    assert "+0 batch 1 of 1" in listener.lines
    assert all(not line.startswith("+") or line.startswith("+0 ") for line in listener.lines)
    (log,) = (model.folder / "logs").iterdir()
    assert log.read_text() == "model loaded\nbatch 1 of 1\n"


def test_megabytes_of_print_hinder_nothing(users):
    body = "for _ in range(3000): print('y' * 1000)\nwrite(names, p)"
    pixels = some(2)
    np.testing.assert_array_equal(users.model(users.program(body)).ask(pixels), expected(pixels))


# --- what is kept -------------------------------------------------------------------------


def test_answers_are_kept_and_not_asked_again(users):
    a, b = some(10), some(5, seed=1)
    first = users.model().ask(a)
    again = users.model()
    assert again.answered == 10
    np.testing.assert_array_equal(again.ask(np.concatenate([a, b]))[:10], first)
    assert users.counts == [18, 5]


@pytest.mark.parametrize("what", ["program", "labels", "positive", "command", "fresh"])
def test_another_model_is_asked_anew(users, what):
    users.model().ask(some(5))
    command = users.program(
        "write(names, p)  # retrained" if what == "program" else "write(names, p)"
    )
    command += " --tta" if what == "command" else ""
    options = {"positive": {"positive": "sick"}, "fresh": {"fresh": True}}.get(what, {})
    labels = LABELS[::-1] if what == "labels" else LABELS
    model = users.model(command, labels=labels, **options)
    assert model.answered == 0
    model.ask(some(5))
    assert users.counts == [10, 10]


def test_a_changed_model_file_or_folder_is_another_model(users, tmp_path):
    weights, folder = tmp_path / "model.keras", tmp_path / "saved model"
    weights.write_bytes(b"1")
    folder.mkdir()
    (folder / "variables").write_bytes(b"1")
    command = users.program() + f" --weights={weights} {shlex.quote(str(folder))}"
    first = users.model(command)
    names = {Path(name).name for name in first.files}
    assert names >= {"predict.py", "model.keras", "saved model"}
    assert first.key == users.model(command).key
    assert "model.keras" in first.notes[0]
    weights.write_bytes(b"2")
    second = users.model(command)
    (folder / "variables").write_bytes(b"22")
    assert len({first.key, second.key, users.model(command).key}) == 3


def test_a_damaged_file_of_answers_is_asked_again(users):
    pixels = some(4)
    model = users.model()
    model.ask(pixels)
    (kept,) = model.folder.glob("answers/*/*.json")
    kept.write_text(kept.read_text().replace("0.", "1.", 1))
    np.testing.assert_array_equal(users.model().ask(pixels), expected(pixels))
    assert users.counts == [8, 8]


def test_images_that_a_killed_process_left_are_removed(users):
    left = users.folder / "kept" / "images-0123"
    left.mkdir(parents=True)
    (left / "a.png").write_bytes(b"")
    users.model()
    assert not left.exists()


def test_images_of_a_living_process_stay(users):
    first, pixels = users.model(images_per_start=2), some(5)
    answers = first.ask_many([(pixels[:2], None), (pixels[2:4], None)])
    next(answers)
    (place,) = [p for p in first.folder.glob("images-*") if p.is_dir()]
    users.model()
    assert place.exists()
    answers.close()


# --- programs that fail -------------------------------------------------------------------


def failure(model, pixels):
    with pytest.raises(ModelError) as raised:
        model.ask(pixels)
    assert not [p for p in model.folder.glob("images-*") if p.is_dir()]
    return str(raised.value)


def test_a_crash_is_named_and_what_was_answered_before_it_is_kept(users):
    body = """
out.write_text("image,sick,well\\n")
for n, name in enumerate(names):
    if n == 2 and not os.path.exists({mended!r}):
        raise RuntimeError("cannot convert image 3")
    with out.open("a") as handle:
        handle.write(f"{{name}},{{float(p[n])!r}},{{float(1 - p[n])!r}}\\n")
""".format(mended=str(users.folder / "mended"))  # fmt: skip
    command = users.program(body)
    pixels = some(20)
    message = failure(users.model(command), pixels)
    assert "it ended with exit code 1" in message
    assert "RuntimeError: cannot convert image 3" in message
    assert command in message
    assert "26 of 28 images have no row" in message
    assert "2 of 20 images of this start are answered" in message
    log = re.search(r"All that it printed: (\S+\.txt)", message)[1]
    assert "Traceback" in Path(log).read_text()
    (users.folder / "mended").touch()
    np.testing.assert_array_equal(users.model(command).ask(pixels), expected(pixels))
    assert users.counts == [28, 26]  # 18 that were left, and 8 twice, which had not been possible


def test_a_row_that_was_cut_off_is_no_answer(users):
    body = "write(names, p); out.write_bytes(out.read_bytes()[:-30]); os.kill(os.getpid(), 9)"
    message = failure(users.model(users.program(body)), some(5))
    assert "was killed by SIGKILL" in message
    assert "1 of 10 images have no row" in message


def test_a_program_that_hangs_is_named(users):
    body = "print('waiting for the GPU'); time.sleep(600)"
    message = failure(users.model(users.program(body), limit_s=3), some(2))
    assert "it did not end within 3 s and was killed; it wrote no table" in message
    assert "    waiting for the GPU" in message


def test_a_program_that_answers_all_and_then_fails_has_answered(users):
    pixels = some(2)
    model = users.model(users.program("write(names, p); sys.stdout.flush(); os._exit(139)"))
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))
    assert "ended with exit code 139, after it had answered every image" in model.notes[-1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("p[2] = np.nan; write(names, p)", "row 4: no number in 'sick' ('nan')"),
        ("write(names[1:], p[1:])", "1 of 10 images have no row: 'image-000001.png'"),
        ("p = 20 * p - 10; write(names, p)", "they look like logits"),
        ("Path('elsewhere.csv').write_text('')", "answers.csv is not there. Write the table"),
        ("(out.parent / 'mine.csv').write_text('x')", "beside it there is 'mine.csv'"),
        ("out.touch()", "its table is empty"),
        ("out.mkdir()", "it wrote no table"),
        ("import shutil; shutil.rmtree(out.parents[1])", "it removed"),
        ("out.write_text('<html>')", "no row below it"),
        ("out.write_text('image,sick,well\\n')", "no row below it"),
        ("out.write_text('image,sick,well\\na.png,1,0\\n')", "no row names one of the 10 images"),
        ("pass", "At last it printed:\n    model loaded"),
        ("out = Path('/proc/none.csv'); write(names, p)", "No such file or directory"),
    ],
)
def test_what_is_wrong_with_the_answers_is_named(users, tmp_path, monkeypatch, body, words):
    monkeypatch.chdir(tmp_path)
    message = failure(users.model(users.program(body)), some(5))
    assert words in message
    assert "of 5 images of this start are answered" in message


def test_a_table_that_cannot_be_used_is_kept_to_be_looked_at(users):
    message = failure(users.model(users.program("write(names, 20 * p)")), some(2))
    path = Path(re.search(r"its table: (\S+\.table\.csv)\.", message)[1])
    assert path.read_text().startswith("image,sick,well\n")


def test_answers_that_differ_for_one_image_are_named(users):
    listener = Listener()
    body = "p = np.clip(p + np.random.default_rng(0).normal(0, .05, len(p)), 0, 1); write(names, p)"
    model = users.model(users.program(body), listener=listener)
    model.ask(some(10))
    assert 0.005 < model.difference < 0.5
    assert "answers to the same image differ by up to" in model.notes[1]
    assert model.notes[1] in listener.lines
    assert users.model(users.program(body)).difference == model.difference


def test_answers_that_depend_on_the_other_images_are_named(users):
    """As of batch normalization that was left in training mode, in batches of four."""
    body = """
for n in range(0, len(p), 4):
    p[n:n + 4] = 1 / (1 + np.exp(-(p[n:n + 4] - p[n:n + 4].mean()) / p[n:n + 4].std()))
write(names, p)
"""
    model = users.model(users.program(body))
    model.ask(some(30))
    assert model.difference > 0.01


def test_rounding_is_no_difference(users):
    body = "p = p + np.random.default_rng(0).normal(0, 1e-6, len(p)); write(names, p)"
    model = users.model(users.program(body))
    model.ask(some(10))
    assert model.difference < 1e-4
    assert len(model.notes) == 1


# --- commands that cannot be run ------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "the command is empty"),
        ("python predict.py", r"lacks \{images\}"),
        ("python predict.py {images}", r"lacks \{out\}; there are .*For example"),
        ("python predict.py {image} {out}", r"\{image\} in .* is unknown; there are \{images\}"),
        ("python 'predict.py {images} {out}", "close the quotes"),
        ("pythn predict.py {images} {out}", "there is no program 'pythn'"),
        ("A=1 python predict.py {images} {out}", "write env A=1 ..."),
        ("python predict.py {images} > {out}", "'>' in .* is a sign for a shell.*sh -c"),
        ("cd here && python predict.py {images} {out}", "'&&'"),
        ("sh -c 'python predict.py \"{images}\" {out}'", "stands in quotes; leave them away"),
    ],
)
def test_a_command_that_cannot_be_right_is_refused_before_anything_is_done(users, command, words):
    with pytest.raises(ModelError, match=words):
        users.model(command or " ")
    assert not (users.folder / "kept").exists()


def test_a_script_that_may_not_be_executed_is_named(users):
    path = users.folder / "predict.sh"
    path.write_text("#!/bin/sh\n")
    with pytest.raises(ModelError, match="may not be executed; name what runs it"):
        users.model(f"{path} {{images}} {{out}}")


def test_braces_of_shells_and_templates_are_no_placeholders(users):
    model = users.model(users.program() + " '{{.Name}}' '${HOME}' '{\"a\": 1}' {}")
    pixels = some(2)
    np.testing.assert_array_equal(model.ask(pixels), expected(pixels))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["a"]}, "two or more classes"),
        ({"labels": ["a", "a"]}, "two or more classes"),
        ({"positive": "ill"}, "'ill' is none of sick, well"),
        ({"size": 8}, "size of at least 16"),
        ({"limit_s": 0}, "numbers above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(users, options, words):
    with pytest.raises(ModelError, match=words):
        users.model(**options)


@pytest.mark.parametrize(
    "pixels", [some(2, size=16), some(2).astype(np.float32), some(2)[:0], some(2)[..., None]]
)
def test_images_of_another_kind_are_refused(users, pixels):
    with pytest.raises(ModelError, match=r"it takes uint8 of shape \(n, 32, 32\)"):
        users.model().ask(pixels)


def test_a_folder_that_cannot_be_written_is_named(users):
    (users.folder / "kept").write_text("a file")
    with pytest.raises(OutputError, match="kept cannot be written"):
        users.model()


def test_a_full_disk_is_named_and_nothing_is_left(users, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    model = users.model()
    monkeypatch.setattr(module.Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        model.ask(some(2))
    assert not [p for p in model.folder.glob("images-*") if p.is_dir()]
