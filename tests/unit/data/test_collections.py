"""Every registered collection, read from a small folder made in its published layout."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hurdles.data.manifest import Manifest
from hurdles.data.reading import recognize
from hurdles.data.sources import COLLECTIONS
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.sources.covid import label_of
from hurdles.errors import CollectionError, RegistryError


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path, format=kind)
    return path


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a table given with blanks around '|'; a CSV with quotes where needed comes out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        [cell.strip() for cell in re.split(r" \|(?= |$)", line.strip())]
        for line in text.strip().splitlines()
    ]
    with path.open("w", encoding=encoding, newline="") as handle:
        csv.writer(handle).writerows(rows)
    return path


def workbook(path: Path, rows: dict[str, str]) -> None:
    frame = pd.DataFrame(
        {"FILE NAME": rows.keys(), "FORMAT": "PNG", "SIZE": "8*8", "URL": rows.values()}
    )
    frame.to_excel(path, index=False)


def dicom(path: Path, *, view: str = "PA", sex: str = "F", age: str = "51") -> Path:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.ViewPosition, header.PatientSex = view, sex
    # As in the challenge: digits without the unit that DICOM wants, so written past the check.
    header.add(pydicom.DataElement(0x00101010, "AS", age, validation_mode=0))
    header.Rows = header.Columns = 8
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation, header.SamplesPerPixel = 7, 0, 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelData = bytes(range(64))
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, header, enforce_file_format=True)
    return path


def radiography_first(root: Path) -> Path:
    for n in (1, 2):
        image(root / "COVID-19" / f"COVID-19 ({n}).png")
        image(root / "NORMAL" / f"NORMAL ({n}).png")
    for n in (1, 2, 3):
        image(root / "Viral Pneumonia" / f"Viral Pneumonia ({n}).png")
    workbook(
        root / "COVID-19.metadata.xlsx",
        {"COVID-19 (1)": "https://sirm.org/case-1", "COVID-19 (2)": "COVID-2.png"},
    )
    workbook(root / "NORMAL.metadata.xlsx", {f"NORMAL ({n})": f"Normal-{n}.png" for n in (1, 2)})
    workbook(
        root / "Viral Pneumonia.matadata.xlsx",
        {
            "VIRAL PNEUMONIA (1)": "person1023_virus_1714.jpeg",
            "VIRAL PNEUMONIA(2)": "person1023_virus_1715.jpeg",
            "VIRAL PNEUMONIA (3)": "person447_virus_921_1.jpeg",
        },
    )
    return root


def radiography_second(root: Path) -> Path:
    for folder, stem in (
        ("COVID", "COVID"),
        ("Normal", "Normal"),
        ("Lung_Opacity", "Lung_Opacity"),
        ("Viral Pneumonia", "Viral Pneumonia"),
    ):
        for n in (1, 2):
            image(root / folder / "images" / f"{stem}-{n}.png")
        image(root / folder / "masks" / f"{stem}-1.png")
        workbook(root / f"{folder}.metadata.xlsx", {f"{stem}-1": "https://example.org/1"})
    return root


def kermany(root: Path) -> Path:
    for name in (
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0115-0001-0002.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/person1_bacteria_2.jpeg",
        "train/PNEUMONIA/person447_virus_921_1.jpeg",
        "train/PNEUMONIA/holiday.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg",
        "test/NORMAL/IM-0001-0001.jpeg",
        "test/PNEUMONIA/person1_virus_6.jpeg",
        "chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg",
    ):
        image(root / name)
    (root / "__MACOSX").mkdir()
    return root


def kermany_randomized(root: Path) -> Path:
    for part in ("train", "test"):
        number = 1008087 if part == "train" else 2
        image(root / part / "NORMAL" / f"NORMAL-{number}-0001.jpeg")
        image(root / part / "PNEUMONIA" / f"BACTERIA-{number + 1}-0001.jpeg")
        image(root / part / "PNEUMONIA" / f"VIRUS-{number + 2}-0003.jpeg")
    return root


def cohen(root: Path) -> Path:
    table(
        root / "metadata.csv",
        """
        patientid | sex | age | finding | view | modality | location | folder | filename | notes
        2 | M | 65 | COVID-19 | PA | X-ray | Hanoi | images | a.jpeg | fever, cough
        2 | M | 65 | COVID-19, ARDS | AP Supine | X-ray | Hanoi | images | b.png |
        311a | F | 39 | Pneumonia/Viral/COVID-19 | AP | X-ray | | images | c.jpg |
        311b | F | | Streptococcus | PA | X-ray | | images | d.jpg |
        7 | | | No Finding | PA | X-ray | | images | e.jpg |
        8 | | | COVID-19 | L | X-ray | | images | lateral.jpg |
        9 | | | COVID-19 | Axial | CT | | volumes | ct.nii.gz |
        10 | | | todo | PA | X-ray | | images | todo.jpg |
        11 | | | COVID-19 | | X-ray | | images | noview.jpg |
        12 | | | COVID-19 | PA | X-ray | | images | missing.jpg |
        13 | | | No Finding | PA | X-ray | | images | e.jpg |
        """,
    )
    for name in ("a.jpeg", "b.png", "c.jpg", "d.jpg", "e.jpg"):
        image(root / "images" / name)
    for name in ("lateral.jpg", "todo.jpg", "noview.jpg", "stranger.jpg"):
        image(root / "images" / name)
    image(root / "annotations" / "v7labs-lung-masks" / "a.png")
    return root


def figure1(root: Path) -> Path:
    text = """
    patientid | offset | sex | age | finding | survival | pO2 saturation | view | modality | notes
    COVID-00001 | 13 | M | 33 | COVID-19 | | 58 | AP erect | X-ray | 38° and cough
    COVID-00003a | 8 | M | 28 | COVID-19 | | 90 | AP erect | X-ray |
    COVID-00003b | 8 | M | 28 | COVID-19 | | 90 | | X-ray |
    COVID-00010 | 5 | M | 50+ | COVID-19 | | | | X-ray |
    COVID-00023 | | | early 40s | No finding | | | | X-ray |
    COVID-00031 | | | | Pneumonia | | | | X-ray |
    COVID-00005 | | | | | | | | X-ray |
    COVID-00099 | | | | COVID-19 | | | | X-ray |
    """
    table(root / "metadata.csv", text, encoding="cp1252")
    for name in ("00001.jpg", "00003a.jpg", "00003b.png", "00010.jpg", "00023.jpg", "00031.png"):
        image(root / "images" / f"COVID-{name}")
    image(root / "images" / "COVID-00005.jpg")
    return root


def actualmed(root: Path) -> Path:
    table(
        root / "metadata.csv",
        """
        patientid | sex | age | finding | pO2 saturation | view | modality | imagename | notes
        ANON196 | | | | | PA | X-ray | CR.1.2.1.png | Inconclusive
        ANON56 | | | No finding | | PA | X-ray | CR.1.2.2.png | Negative
        ANON56 | | | COVID-19 | | AP | X-ray | CR.1.2.3.png |
        ANON9 | | | COVID-19 | | AP | X-ray | CR.1.2.4.png |
        """,
    )
    for n in (1, 2, 3):
        image(root / "images" / f"CR.1.2.{n}.png")
    return root


def hannover(root: Path) -> Path:
    table(
        root / "data.csv",
        """
        patient_id | image_id | sex | age | admission_offset | modality | projection | crp_val
        042f06a9 | b343e657 | m | | 0 | CR | ap | 5.0
        042f06a9 | c9280a30 | m | | -22 | CR | pa | -inf
        09ec853d | a4318ac9 | f | 70 | 10.0 | DX | pa | 3
        09ec853d | ffffffff | w | | 0 | CR | lateral |
        0a359802 | eeeeeeee | f | | 0 | CR | ap |
        """,
    )
    for name in ("b343e657", "c9280a30", "a4318ac9", "ffffffff", "0000stray"):
        image(root / "png" / f"{name}.png")
    return root


NIH_TABLE = """
Image Index | Finding Labels | Patient ID | Patient Age | Patient Gender | View Position
00000061_012.png | Edema|Pneumonia | 61 | 77 | M | AP
00000061_015.png | No Finding | 61 | 77 | M | PA
00000150_002.png | Cardiomegaly | 150 | 411 | F | AP
00000165_001.png | Pneumonia | 165 | 076Y | F | PA
00000193_019.png | No Finding | 193 | 54 | M | PA
"""


def nih(root: Path) -> Path:
    table(root / "Data_Entry_2017.csv", NIH_TABLE)
    image(root / "images_001" / "images" / "00000061_012.png")
    image(root / "images_001" / "images" / "00000061_015.png")
    image(root / "images_002" / "images" / "00000150_002.png")
    image(root / "images_002" / "images" / "00000165_001.png")
    image(root / "images_002" / "images" / "99999999_000.png")
    (root / "train_val_list.txt").write_text("00000061_012.png\n00000061_015.png\n")
    (root / "test_list.txt").write_text("00000150_002.png\n")
    return root


def darkcovidnet(root: Path) -> Path:
    table(root / "Data_Entry_2017_subset.csv", NIH_TABLE)
    image(root / "Pneumonia" / "00000061_012.jpg")
    image(root / "Pneumonia" / "00000165_001.jpg")
    image(root / "No_findings" / "00000061_015.jpg")
    image(root / "Covid-19" / "nejmc2001573_f1b.jpeg")
    return root


def rsna(root: Path) -> Path:
    table(
        root / "stage_2_train_labels.csv",
        """
        patientId | x | y | width | height | Target
        aaaa | | | | | 0
        bbbb | 264 | 152 | 213 | 379 | 1
        bbbb | 562 | 152 | 256 | 453 | 1
        cccc | | | | | 0
        dddd | | | | | 0
        """,
    )
    table(
        root / "stage_2_detailed_class_info.csv",
        """
        patientId | class
        aaaa | Normal
        bbbb | Lung Opacity
        bbbb | Lung Opacity
        cccc | No Lung Opacity / Not Normal
        dddd | Normal
        """,
    )
    dicom(root / "stage_2_train_images" / "aaaa.dcm", view="PA", sex="F", age="51")
    dicom(root / "stage_2_train_images" / "bbbb.dcm", view="AP", sex="M", age="148")
    (root / "stage_2_train_images" / "cccc.dcm").write_bytes(b"damaged")
    dicom(root / "stage_2_train_images" / "eeee.dcm")
    return root


def corda(root: Path) -> Path:
    table(
        root / "CORDA_fix.csv",
        """
        image_id | covid | rx
        p1 | 1 | 1
        p2 | 1 | 0
        p3 | 0 | 1
        p4 | 0.0 | 0.0
        p5 | 1 | 1
        p6 | ? | 1
        """,
    )
    image(root / "RX+-COVID+" / "p1.png")
    image(root / "RX--COVID+" / "p2.png")
    image(root / "RX+-COVID-" / "p3.png")
    image(root / "RX--COVID-" / "p4.png")
    image(root / "RX--COVID-" / "stray.png")
    return root


def corda_released(root: Path) -> Path:
    rows = """
        patient_id | study_number | modality | sex | age | rx | covid | path | institution
        7 | 1 | DX | M | 63.0 | 1 | 1 | molinette/7/1/IM0 | molinette
        7 | 2 | CR | M | 63 | | 1.0 | molinette/7/2/IM0 | molinette
        8 | 1 | DX | F | 045Y | 0 | 0 | monzino/8/1/IM0 | monzino
        8 | 1 | CT | F | 45 | 0 | 0 | monzino/8/1/IM1 | monzino
        9 | 1 | DX | F | | 0 | | monzino/9/1/IM0 | monzino
        9 | 2 | DX | F | | 0 | 0 | monzino/9/2/IM0 | monzino
        """
    table(root / "corda.csv", rows)
    table(root / "fold0_test.csv", "\n".join(rows.splitlines()[:4]))
    table(root / "fold1_test.csv", "\n".join([*rows.splitlines()[:2], *rows.splitlines()[4:]]))
    names = ["molinette/7/1/IM0", "molinette/7/2/IM0", "monzino/8/1/IM0", "monzino/8/1/IM1"]
    for name in (*names, "monzino/9/1/IM0", "stray"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0" * 128 + b"DICM")
    image(root / "224x224" / "molinette" / "IM0.png")
    return root


def montgomery_shenzhen(root: Path) -> Path:
    for name in ("MCUCXR_0001_0", "MCUCXR_0104_1", "CHNCXR_0001_0", "CHNCXR_0327_1"):
        image(root / "CXR_png" / f"{name}.png")
    image(root / "CXR_png" / "cover.png")
    image(root / "masks" / "MCUCXR_0001_0.png")
    image(root / "masks" / "CHNCXR_0327_1_mask.png")
    (root / "ClinicalReadings").mkdir()
    readings = {
        "MCUCXR_0001_0": "Patient's Sex: F\nPatient's Age: 027Y\nnormal",
        "CHNCXR_0327_1": "male 45yrs\nbilateral PTB",
    }
    for name, text in readings.items():
        (root / "ClinicalReadings" / f"{name}.txt").write_text(text)
    return root


#: One builder for every layout of every collection.
BUILDERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "radiography-first": ("radiography-database", radiography_first),
    "radiography-2021": ("radiography-database", radiography_second),
    "kermany": ("kermany", kermany),
    "kermany-randomized": ("kermany", kermany_randomized),
    "cohen": ("cohen", cohen),
    "figure1": ("figure1", figure1),
    "actualmed": ("actualmed", actualmed),
    "hannover": ("hannover", hannover),
    "nih": ("nih", nih),
    "darkcovidnet": ("darkcovidnet", darkcovidnet),
    "rsna": ("rsna", rsna),
    "corda": ("corda", corda),
    "corda-released": ("corda", corda_released),
    "montgomery-shenzhen": ("montgomery-shenzhen", montgomery_shenzhen),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    return {
        key: build(tmp_path_factory.mktemp(key) / "as distributed é")
        for key, (_, build) in BUILDERS.items()
    }


@pytest.fixture(scope="module")
def manifests(built) -> dict[str, Manifest]:
    return {key: COLLECTIONS.get(BUILDERS[key][0]).read(root) for key, root in built.items()}


def by_image(manifest: Manifest, column: str) -> dict[str, object]:
    names = manifest.frame["image"].str.rsplit("/", n=1).str[-1]
    values = manifest.frame[column].astype(object).where(manifest.frame[column].notna(), None)
    return dict(zip(names, values, strict=True))


def left(manifest: Manifest) -> dict[str, str]:
    return {Path(path).name: why for path, why in manifest.exclusions.itertuples(index=False)}


class TestEveryCollection:
    def test_has_a_builder_here(self):
        assert {name for name, _ in BUILDERS.values()} == set(COLLECTIONS)

    @pytest.mark.parametrize("name", COLLECTIONS.names())
    def test_is_described(self, name):
        item = COLLECTIONS.get(name)
        assert item.name == name
        for text in (item.title, item.license, item.citation, item.layout):
            assert len(text) > 3
            assert text == text.strip()
        assert item.url.startswith("https://")
        assert item.quirks
        assert item.folders
        for sentence in (*item.quirks, *(layout.text for layout in item.layouts)):
            assert sentence.endswith("."), sentence
            assert "  " not in sentence, sentence
        assert any(char.isdigit() for char in item.citation), "a citation has a year"

    @pytest.mark.parametrize("key", BUILDERS)
    def test_reads_its_layout_as_a_valid_manifest(self, key, built, manifests):
        manifest = manifests[key]
        assert len(manifest) >= 2
        assert manifest.frame["source"].notna().all()
        assert all(Path(path).is_file() for path in manifest.frame["path"])
        assert all(Path(path).is_file() for path in manifest.frame["mask"].dropna())
        for row in manifest.frame.itertuples():
            assert (built[key] / row.image) == Path(row.path)

    @pytest.mark.parametrize("key", BUILDERS)
    def test_columns_are_text_or_numbers_and_survive_a_file(self, key, manifests, tmp_path):
        frame = manifests[key].frame
        for column in frame.columns:
            assert str(frame[column].dtype) in {"str", "float64", "int64"}, column
        for suffix in (".csv", ".parquet"):
            again = Manifest.load(manifests[key].save(tmp_path / f"rows{suffix}"))
            assert again.content_hash == manifests[key].content_hash

    @pytest.mark.parametrize("key", BUILDERS)
    def test_every_image_is_kept_or_left(self, key, built, manifests):
        manifest = manifests[key]
        told = {*manifest.frame["path"], *manifest.exclusions["path"]}
        masks = {"masks", "v7labs-lung-masks"}
        images = {
            str(path)
            for path in built[key].rglob("*")
            if path.suffix in {".png", ".jpg", ".jpeg", ".dcm"} and path.parent.name not in masks
        }
        assert images <= told

    @pytest.mark.parametrize("key", BUILDERS)
    def test_is_recognized_as_itself_and_as_nothing_else(self, key, built):
        assert [item.name for item in recognize(built[key])] == [BUILDERS[key][0]]

    @pytest.mark.parametrize("name", COLLECTIONS.names())
    def test_a_missing_folder_names_what_was_looked_for(self, name, tmp_path):
        item = COLLECTIONS.get(name)
        with pytest.raises(CollectionError, match="gone is not a folder") as caught:
            item.read(tmp_path / "gone")
        assert item.layout in str(caught.value)
        assert item.url in str(caught.value)

    @pytest.mark.parametrize("name", COLLECTIONS.names())
    def test_an_empty_folder_names_what_it_lacks(self, name, tmp_path):
        item = COLLECTIONS.get(name)
        with pytest.raises(CollectionError, match="not found there") as caught:
            item.read(tmp_path)
        assert any(need in str(caught.value) for lay in item.layouts for need in lay.needs)


def test_radiography_first_release(manifests):
    manifest = manifests["radiography-first"]
    assert manifest.counts == {"COVID-19": 2, "Normal": 2, "Viral Pneumonia": 3}
    assert by_image(manifest, "patient") == {
        "COVID-19 (1).png": None,
        "COVID-19 (2).png": None,
        "NORMAL (1).png": None,
        "NORMAL (2).png": None,
        "Viral Pneumonia (1).png": "person1023",
        "Viral Pneumonia (2).png": "person1023",
        "Viral Pneumonia (3).png": "person447",
    }
    assert by_image(manifest, "original")["COVID-19 (1).png"] == "https://sirm.org/case-1"
    assert manifest.missing_patients == 4


def test_radiography_without_workbooks_knows_no_patients(tmp_path):
    root = radiography_first(tmp_path)
    for book in root.glob("*.xlsx"):
        book.unlink()
    assert COLLECTIONS.get("radiography-database").read(root).missing_patients == 7


def test_radiography_2021_has_masks(manifests):
    manifest = manifests["radiography-2021"]
    assert manifest.labels == ["COVID-19", "Lung Opacity", "Normal", "Viral Pneumonia"]
    assert len(manifest) == 8, "masks are not images"
    masks = by_image(manifest, "mask")
    assert masks["COVID-1.png"].endswith(str(Path("COVID", "masks", "COVID-1.png")))
    assert masks["COVID-2.png"] is None
    assert by_image(manifest, "original")["COVID-1.png"] == "https://example.org/1"


def test_kermany_labels_patients_and_split(manifests):
    manifest = manifests["kermany"]
    frame = manifest.frame.set_index(manifest.frame["image"].str.rsplit("/", n=1).str[-1])
    assert frame.loc["person1_bacteria_1.jpeg", ["label", "patient", "split"]].tolist() == [
        "Bacterial Pneumonia", "person1_bacteria", "train",
    ]  # fmt: skip
    assert frame.loc["person1_virus_6.jpeg", ["label", "patient", "split"]].tolist() == [
        "Viral Pneumonia", "person1_virus", "test",
    ]  # fmt: skip
    assert frame.loc["NORMAL2-IM-0115-0001-0002.jpeg", "patient"] == "NORMAL2-IM-0115"
    assert frame.loc["IM-0115-0001.jpeg", "patient"] == "IM-0115"
    assert frame.loc["person1946_bacteria_4874.jpeg", "split"] == "validation"
    assert frame["age"].isna().all(), "an age group is not an age"
    assert left(manifest)["holiday.jpeg"] == "a name that tells neither disease nor patient"
    assert left(manifest)["person1_bacteria_1.jpeg"] == "outside train, val and test"


def test_kermany_third_version(manifests):
    manifest = manifests["kermany-randomized"]
    assert manifest.counts == {"Bacterial Pneumonia": 2, "Normal": 2, "Viral Pneumonia": 2}
    assert by_image(manifest, "patient")["NORMAL-1008087-0001.jpeg"] == "1008087"


def test_cohen_keeps_frontal_x_rays_and_counts_the_rest(manifests):
    manifest = manifests["cohen"]
    assert by_image(manifest, "label") == {
        "a.jpeg": "COVID-19",
        "b.png": "COVID-19",
        "c.jpg": "COVID-19",
        "d.jpg": "Other Pneumonia",
        "e.jpg": "Normal",
    }
    assert by_image(manifest, "view")["b.png"] == "AP Supine"
    assert by_image(manifest, "patient")["c.jpg"] == "311a"
    assert by_image(manifest, "finding")["b.png"] == "COVID-19, ARDS"
    assert by_image(manifest, "location")["a.jpeg"] == "Hanoi"
    assert Path(by_image(manifest, "mask")["a.jpeg"]).name == "a.png"
    assert left(manifest) == {
        "lateral.jpg": "a lateral view",
        "ct.nii.gz": "CT, no X-ray",
        "todo.jpg": "finding 'todo' tells no class",
        "noview.jpg": "the view is not stated",
        "missing.jpg": "named in metadata.csv, but the file is missing",
        "e.jpg": "named again by a later row; the first one is used",
        "stranger.jpg": "not named in metadata.csv",
    }
    assert len(manifest) + len(manifest.exclusions) == 11 + 1, "every row, and one stray file"


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("COVID-19", "COVID-19"),
        ("Pneumonia/Viral/COVID-19", "COVID-19"),
        ("Pneumonia/Viral/SARS", "Other Pneumonia"),
        ("Pneumonia/Bacterial/E.Coli", "Other Pneumonia"),
        ("Pneumonia", "Other Pneumonia"),
        ("Lipoid", "Other Pneumonia"),
        ("no finding", "Normal"),
        ("Tuberculosis", None),
        ("ARDS", None),
        ("Unknown", None),
        ("todo", None),
        ("", None),
    ],
)
def test_findings(finding, label):
    assert label_of(finding) == label


def test_figure1_images_without_extension_and_lettered_patients(manifests):
    manifest = manifests["figure1"]
    assert by_image(manifest, "patient") == {
        "COVID-00001.jpg": "COVID-00001",
        "COVID-00003a.jpg": "COVID-00003",
        "COVID-00003b.png": "COVID-00003",
        "COVID-00010.jpg": "COVID-00010",
        "COVID-00023.jpg": "COVID-00023",
        "COVID-00031.png": "COVID-00031",
    }
    assert by_image(manifest, "label")["COVID-00023.jpg"] == "Normal"
    assert by_image(manifest, "label")["COVID-00031.png"] == "Other Pneumonia"
    assert by_image(manifest, "view")["COVID-00001.jpg"] == "AP"
    assert by_image(manifest, "view")["COVID-00003b.png"] is None
    ages = by_image(manifest, "age")
    assert (ages["COVID-00001.jpg"], ages["COVID-00010.jpg"], ages["COVID-00023.jpg"]) == (
        33.0, None, None,
    )  # fmt: skip
    assert left(manifest) == {
        "COVID-00005.jpg": "no finding is stated",
        "COVID-00099": "named in metadata.csv, but the file is missing",
    }


def test_actualmed_leaves_out_inconclusive_images(manifests):
    manifest = manifests["actualmed"]
    assert by_image(manifest, "label") == {"CR.1.2.2.png": "Normal", "CR.1.2.3.png": "COVID-19"}
    assert by_image(manifest, "patient") == {"CR.1.2.2.png": "ANON56", "CR.1.2.3.png": "ANON56"}
    assert left(manifest) == {
        "CR.1.2.1.png": "no finding is stated",
        "CR.1.2.4.png": "named in metadata.csv, but the file is missing",
    }


def test_hannover(manifests):
    manifest = manifests["hannover"]
    assert manifest.labels == ["COVID-19"]
    assert by_image(manifest, "view") == {
        "b343e657.png": "AP",
        "c9280a30.png": "PA",
        "a4318ac9.png": "PA",
    }
    assert by_image(manifest, "admission_offset")["c9280a30.png"] == -22.0
    assert by_image(manifest, "patient")["c9280a30.png"] == "042f06a9"
    assert by_image(manifest, "age")["a4318ac9.png"] == 70.0
    assert left(manifest) == {
        "ffffffff.png": "projection 'lateral', not frontal",
        "eeeeeeee.png": "named in data.csv, but the file is missing",
        "0000stray.png": "not named in data.csv",
    }


def test_nih(manifests):
    manifest = manifests["nih"]
    assert by_image(manifest, "label") == {
        "00000061_012.png": "Pneumonia",
        "00000061_015.png": "No Finding",
        "00000150_002.png": "Other Finding",
        "00000165_001.png": "Pneumonia",
    }
    assert by_image(manifest, "finding")["00000061_012.png"] == "Edema|Pneumonia"
    assert by_image(manifest, "patient")["00000061_015.png"] == "61"
    assert by_image(manifest, "split") == {
        "00000061_012.png": "train",
        "00000061_015.png": "train",
        "00000150_002.png": "test",
        "00000165_001.png": None,
    }
    ages = by_image(manifest, "age")
    assert (ages["00000150_002.png"], ages["00000165_001.png"]) == (None, 76.0)
    assert left(manifest) == {
        "99999999_000.png": "not named in Data_Entry_2017.csv",
        "00000193_019.png": "named in Data_Entry_2017.csv, but the file is missing",
    }


def test_nih_with_an_archive_unpacked_twice(tmp_path):
    root = nih(tmp_path)
    image(root / "images_003" / "images" / "00000061_012.png")
    manifest = COLLECTIONS.get("nih").read(root)
    assert len(manifest) == 4
    assert left(manifest)["00000061_012.png"] == "a second file of the same name"


def test_nih_in_its_later_table(tmp_path):
    root = nih(tmp_path)
    (root / "Data_Entry_2017.csv").rename(root / "Data_Entry_2017_v2020.csv")
    assert [item.name for item in recognize(root)] == ["nih"]
    assert len(COLLECTIONS.get("nih").read(root)) == 4


def test_darkcovidnet_matches_the_table_without_extensions(manifests):
    manifest = manifests["darkcovidnet"]
    assert manifest.counts == {"COVID-19": 1, "No Finding": 1, "Pneumonia": 2}
    assert by_image(manifest, "view")["00000061_012.jpg"] == "AP"
    assert by_image(manifest, "patient") == {
        "00000061_012.jpg": "61",
        "00000165_001.jpg": "165",
        "00000061_015.jpg": "61",
        "nejmc2001573_f1b.jpeg": None,
    }


def test_rsna_filters_rows_and_never_mixes_boxes(manifests):
    manifest = manifests["rsna"]
    assert by_image(manifest, "label") == {
        "aaaa.dcm": "Normal",
        "bbbb.dcm": "Lung Opacity",
        "cccc.dcm": "No Lung Opacity / Not Normal",
    }
    assert by_image(manifest, "boxes") == {"aaaa.dcm": 0, "bbbb.dcm": 2, "cccc.dcm": 0}
    assert manifest.missing_patients == 3, "patientId is an image's name"
    assert by_image(manifest, "view") == {"aaaa.dcm": "PA", "bbbb.dcm": "AP", "cccc.dcm": None}
    assert by_image(manifest, "sex")["bbbb.dcm"] == "M"
    assert by_image(manifest, "age") == {"aaaa.dcm": 51.0, "bbbb.dcm": None, "cccc.dcm": None}
    assert left(manifest) == {
        "eeee.dcm": "not named in stage_2_train_labels.csv",
        "dddd.dcm": "named in stage_2_train_labels.csv, but the file is missing",
    }


def test_rsna_headers_are_read_through_the_door_of_all_dicom(tmp_path):
    root = rsna(tmp_path)
    whole = root / "stage_2_train_images" / "aaaa.dcm"
    content = whole.read_bytes()
    whole.write_bytes(content[132:])  # without preamble, as the decoder reads it
    manifest = COLLECTIONS.get("rsna").read(root)
    assert by_image(manifest, "view")["aaaa.dcm"] == "PA"
    for cut in range(140, len(content), 97):
        whole.write_bytes(content[:cut])
        assert len(COLLECTIONS.get("rsna").read(root)) == 3


def test_rsna_without_details_does_not_call_anything_normal(tmp_path):
    root = rsna(tmp_path)
    (root / "stage_2_detailed_class_info.csv").unlink()
    assert COLLECTIONS.get("rsna").read(root).labels == ["Lung Opacity", "No Lung Opacity"]


def test_corda_signs_in_folder_names(manifests):
    manifest = manifests["corda"]
    assert by_image(manifest, "label") == {
        "p1.png": "COVID-19",
        "p2.png": "COVID-19",
        "p3.png": "Not COVID-19",
        "p4.png": "Not COVID-19",
    }
    assert by_image(manifest, "finding")["p2.png"] == "RX-"
    assert left(manifest) == {
        "p5.png": "named in CORDA_fix.csv, but the file is missing",
        "p6.png": "covid is '?' and rx '1'; 0 and 1 are known",
        "stray.png": "not named in CORDA_fix.csv",
    }


def test_corda_as_released(manifests):
    frame = manifests["corda-released"].frame
    assert frame["image"].tolist() == [
        "molinette/7/1/IM0", "molinette/7/2/IM0", "monzino/8/1/IM0",
    ]  # fmt: skip
    assert frame["label"].tolist() == ["COVID-19", "COVID-19", "Not COVID-19"]
    assert frame["patient"].tolist() == ["7", "7", "8"]
    assert frame["source"].tolist() == ["molinette", "molinette", "monzino"]
    assert frame["sex"].tolist() == ["M", "M", "F"]
    assert frame["age"].tolist() == [63, 63, 45]
    assert frame["finding"].fillna("-").tolist() == ["RX+", "-", "RX-"]
    assert frame["fold"].tolist() == ["0", "0", "1"]
    assert frame["split"].isna().all()
    assert "not used as a split" in manifests["corda-released"].notes[0]
    root = Path(frame["path"][0]).parents[3]
    reasons = {
        str(Path(path).relative_to(root)): why
        for path, why in manifests["corda-released"].exclusions.itertuples(index=False)
    }
    assert reasons == {
        "monzino/8/1/IM1": "CT, no X-ray",
        "monzino/9/1/IM0": "covid is ''; 0 and 1 are known",
        "monzino/9/2/IM0": "named in corda.csv, but the file is missing",
        "stray": "not named in corda.csv",
        "224x224/molinette/IM0.png": "not named in corda.csv",
    }


def test_montgomery_and_shenzhen_stay_apart(manifests):
    manifest = manifests["montgomery-shenzhen"]
    assert by_image(manifest, "source") == {
        "MCUCXR_0001_0.png": "montgomery",
        "MCUCXR_0104_1.png": "montgomery",
        "CHNCXR_0001_0.png": "shenzhen",
        "CHNCXR_0327_1.png": "shenzhen",
    }
    assert manifest.groups.nunique() == 4, "0001 of two hospitals are two people"
    assert by_image(manifest, "label")["CHNCXR_0327_1.png"] == "Tuberculosis"
    assert Path(by_image(manifest, "mask")["CHNCXR_0327_1.png"]).name == "CHNCXR_0327_1_mask.png"
    assert by_image(manifest, "sex") | {"x": 0} == {
        "MCUCXR_0001_0.png": "F",
        "MCUCXR_0104_1.png": None,
        "CHNCXR_0001_0.png": None,
        "CHNCXR_0327_1.png": "M",
        "x": 0,
    }
    assert by_image(manifest, "age")["CHNCXR_0327_1.png"] == 45.0
    assert by_image(manifest, "age")["MCUCXR_0001_0.png"] == 27.0
    assert "cover.png" in left(manifest)


def test_a_collection_without_a_usable_image_says_why(tmp_path):
    root = actualmed(tmp_path)
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(CollectionError, match=r"actualmed: .* no usable image .*file is missing"):
        COLLECTIONS.get("actualmed").read(root)


def test_a_table_with_other_columns_is_named(tmp_path):
    root = cohen(tmp_path)
    table(root / "metadata.csv", "patientid | label\n1 | x")
    with pytest.raises(CollectionError, match=r"column 'finding' in metadata\.csv"):
        COLLECTIONS.get("cohen").read(root)


def test_a_name_is_registered_once():
    with pytest.raises(RegistryError, match="'cohen' is registered already"):
        collection(
            "cohen", title="t", license="l", citation="c", url="u", quirks=(), folders=(),
            layouts=(Layout("", ()),),
        )(lambda root: None)  # fmt: skip


def test_rows_with_line_breaks_and_any_encoding(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "cp1252"):
        path = tmp_path / f"{encoding}.csv"
        path.write_bytes('id,note\r\n1,"38°\r\nand cough"\r\n2\r\n'.encode(encoding))
        rows = list(read_rows(path))
        assert rows == [{"id": "1", "note": "38°\r\nand cough"}, {"id": "2", "note": ""}]
