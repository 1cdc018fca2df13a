"""What the user said in a folder or a table is used, or its loss is said."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from words_cases import Said, case, command

_HEADERS = "Patients are read from DICOM headers"
_LABELS = "Classes are what the user can have meant"
_MASKS = "Masks are not X-rays"
_TABLES = "Tables of any program are read, or their problems named"


def _folder() -> Path:
    return Path(tempfile.mkdtemp()) / "ward"


def _png(path: Path) -> None:
    import numpy as np
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 255, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _dicom(path: Path, patient: str) -> None:
    import numpy as np
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientID, dataset.PatientSex, dataset.PatientAge = patient, "F", "018M"
    dataset.ViewPosition = "AP"
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.arange(256, dtype=np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _plain(*texts: str) -> str:
    """Return text in one line, with the made folder called 'ward' alone."""
    return re.sub(r"\S*/ward\b", "ward", " ".join(" ".join(texts).split()))


def _said(done: Said) -> str:
    """Return an error, or what a manifest holds."""
    if done.code:
        return _plain(done.err)
    found = json.loads(done.out)
    classes = ", ".join(f"{label} {n}" for label, n in found["labels"].items())
    return f"{found['images']} images ({classes}), patients {found['patients']}"


def _manifest(path: Path) -> str:
    return _said(command("manifest", path, "--json"))


def _check(path: Path, *words: str) -> str:
    done = command("check", path, "--hurdle", "files", *words, "--quiet")
    return _plain(done.err) if done.code == 2 else f"exit code {done.code}, judged"


# --- headers -------------------------------------------------------------------------------------


@case(_HEADERS, "16 DICOM files of 6 patients in class folders", "6 patients",
      lambda text: text.endswith("patients 6"))  # fmt: skip
def headers_of_a_folder() -> str:
    root = _folder()
    for i in range(16):
        _dicom(root / ("Ill" if i % 2 else "Well") / f"{i}.dcm", f" P{i // 3} ")
    return _manifest(root)


@case(_HEADERS, "files without an extension, or with another", "all 4 are images",
      lambda text: text.startswith("4 images"))  # fmt: skip
def headers_whatever_the_name() -> str:
    root = _folder()
    for name in ("IM0001", "scan.ima", "1.2.3.4", "x.dcm"):
        _dicom(root / "Ill" / name, f"P{name}")
    return _manifest(root)


@case(_HEADERS, "PatientID 'anonymous' in all files", "unknown, and said so",
      lambda text: "patients unknown: 8 images" in text and "names nobody" in text)  # fmt: skip
def headers_that_name_nobody() -> str:
    root = _folder()
    for i in range(8):
        _dicom(root / ("Ill" if i % 2 else "Well") / f"{i}.dcm", "anonymous")
    done = command("manifest", root)
    return _plain(done.out, done.err)


# --- classes -------------------------------------------------------------------------------------


def _classes(*labels: str) -> Path:
    root = _folder()
    for label in labels:
        for i in range(12):
            _png(root / label / f"{i}.png")
    return root


@case(_LABELS, "class folders 'Normal ', 'NORMAL' and 'Ill'", "refused, with --label NORMAL=Normal",
      lambda text: "--label NORMAL=Normal" in text)  # fmt: skip
def labels_in_two_spellings() -> str:
    return _check(_classes("Normal ", "NORMAL", "Ill"))


@case(_LABELS, "the same, joined by --label NORMAL=Normal", "judged",
      lambda text: text.endswith("judged"))  # fmt: skip
def labels_joined() -> str:
    return _check(_classes("Normal ", "NORMAL", "Ill"), "--label", "NORMAL=Normal")


def _table(root: Path, heading: str, rows: list[str], name: str = "t.csv", **how: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(len(rows)):
        _png(root / f"{i}.png")
    path = root / name
    path.write_bytes("\n".join([heading, *rows, ""]).encode(how.get("encoding", "utf-8")))
    return path


@case(_LABELS, "labels 'Edema|Mass', 'Edema', 'Mass'", "refused, with what to type",
      lambda text: "several findings in one" in text and "--label" in text)  # fmt: skip
def labels_of_several_findings() -> str:
    labels = ["Edema|Mass", "Edema", "Mass"] * 4
    rows = [f"{i}.png,{label}" for i, label in enumerate(labels)]
    return _check(_table(_folder(), "path,label", rows))


@case(_LABELS, "class folders train_images and test_images", "refused: no classes",
      lambda text: "not of a class" in text)  # fmt: skip
def labels_that_are_folders() -> str:
    return _check(_classes("train_images", "test_images"))


@case(_LABELS, "labels 0.0 and 1.0 of a Parquet file", "classes 0 and 1",
      lambda text: "(0 2, 1 2)" in text)  # fmt: skip
def labels_that_are_floats() -> str:
    import pandas as pd

    root = _folder()
    names = [
        str(_table(root, "path,label", ["", "", "", ""]).with_name(f"{i}.png")) for i in range(4)
    ]
    pd.DataFrame({"path": names, "label": [0.0, 1.0, 0.0, 1.0]}).to_parquet(root / "t.parquet")
    return _manifest(root / "t.parquet")


@case(_LABELS, "a folder that has the layout of a public collection", "said on the terminal",
      lambda text: "is read as kermany" in text)  # fmt: skip
def a_collection_says_so() -> str:
    root = _folder()
    for split in ("train", "test"):
        for name in ("NORMAL/IM-0001-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg"):
            _png(root / split / name)
    return _plain(command("manifest", root).err) or "nothing said"


@case(_LABELS, "a run of Ill and Well asked about Ill and 12 images of Other",
      "the 12 are left out by name, not counted as wrong",
      lambda text: "12 of 24 images are left out" in text)  # fmt: skip
def unknown_classes_are_not_wrong() -> str:
    import numpy as np
    from PIL import Image

    root = _folder()
    rng = np.random.default_rng(0)
    for label, level in (("Ill", 60), ("Well", 150), ("Other", 200)):
        for i in range(40 if label != "Other" else 12):
            part = "asked" if label == "Other" or (label == "Ill" and i < 12) else "own"
            path = root / part / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(rng.normal(level, 20, (48, 48)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    recipe = root / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\n[preparation]\nsize = 32\n[split]\nmissing_patients = "one-each"\n'
        "[training]\nepochs = 1\n"
    )
    run = root / "run"
    done = command("run", recipe, "--data", root / "own", "--out", run, "--quiet")
    if done.code:
        return _plain(done.err)
    done = command("evaluate", run, "--on", root / "asked", "--quiet")
    return _plain(done.out, done.err)


# --- masks ---------------------------------------------------------------------------------------


@case(_MASKS, "Ill/images/1.png beside Ill/masks/1.png, and so on", "2 images, no mask among them",
      lambda text: text.startswith("2 images (Ill 1, Well 1)"))  # fmt: skip
def masks_in_folders() -> str:
    root = _folder()
    for label in ("Ill", "Well"):
        for part in ("images", "masks"):
            _png(root / label / part / "1.png")
    return _manifest(root)


@case(_MASKS, "a.png beside a_mask.png, a@.png and mask_a.png", "1 image",
      lambda text: text.startswith("1 images"))  # fmt: skip
def masks_by_name() -> str:
    root = _folder()
    for name in ("a", "a_mask", "a@", "mask_a"):
        _png(root / "Ill" / f"{name}.png")
    return _manifest(root)


# --- tables --------------------------------------------------------------------------------------

_HEADING = "Dateiname;Patienten-ID;Geschlecht;Alter;Projektion;Diagnose;Klinik"
_ROWS = ["0.png;17;weiblich;45,5;p.a.;Ill;Köln", "1.png;17;m;>89;AP;Well;Köln",
         "2.png;18;Male;018M;AP supine;Ill;Köln"]  # fmt: skip


def _is_read(text: str) -> bool:
    return text == "3 images (Ill 2, Well 1), patients 2"


@case(_TABLES, "a CSV of Excel in German: semicolons, Windows-1252, decimal commas",
      "3 images of 2 patients", _is_read)  # fmt: skip
def table_of_a_german_excel() -> str:
    return _manifest(_table(_folder(), _HEADING, _ROWS, encoding="cp1252"))


@case(_TABLES, "tabs in UTF-16, as Excel's 'Unicode text'", "3 images of 2 patients", _is_read)
def table_in_utf16() -> str:
    rows = [row.replace(";", "\t") for row in _ROWS]
    heading = _HEADING.replace(";", "\t")
    return _manifest(_table(_folder(), heading, rows, "t.txt", encoding="utf-16"))


@case(_TABLES, "an .xlsx workbook", "3 images of 2 patients", _is_read)
def table_of_a_workbook() -> str:
    import pandas as pd

    root = _folder()
    _table(root, _HEADING, _ROWS)
    frame = pd.DataFrame([row.split(";") for row in _ROWS], columns=_HEADING.split(";"))
    frame.to_excel(root / "t.xlsx", index=False)
    return _manifest(root / "t.xlsx")


@case(_TABLES, "a class in a column 'Gruppe', said by --column Gruppe=label", "3 images",
      lambda text: text.startswith("3 images (A 2, B 1)"))  # fmt: skip
def table_with_a_column_of_its_own() -> str:
    path = _table(_folder(), "file,Gruppe", ["0.png,A", "1.png,A", "2.png,B"])
    return _said(command("manifest", path, "--column", "Gruppe=label", "--json"))


@case(_TABLES, "four mistakes in rows 2 to 5", "all named in one message, with their rows",
      lambda text: all(f"({row})" in text for row in (2, 3, 4, 5)))  # fmt: skip
def table_of_mistakes() -> str:
    rows = ["0.png,A,x,40,PA", "1.png,A,F,old,PA", "2.png,A,M,40,oblique", "3.png,,M,40,PA"]
    done = command("manifest", _table(_folder(), "path,label,sex,age,view", rows))
    return _plain(done.err)


@case(_TABLES, "one of three files is missing", "an exclusion, not an image",
      lambda text: text.startswith("2 images") and "the file is missing" in text)  # fmt: skip
def table_with_a_missing_file() -> str:
    path = _table(_folder(), "path,label", ["0.png,A", "1.png,B", "2.png,B"])
    path.with_name("2.png").unlink()
    return _plain(command("manifest", path).out)


@case(_TABLES, "columns that are not understood", "named as not used",
      lambda text: "not used: 'ward'" in text)  # fmt: skip
def table_with_other_columns() -> str:
    path = _table(_folder(), "path,label,ward", ["0.png,A,3", "1.png,B,4"])
    return _plain(command("manifest", path).err) or "nothing said"
