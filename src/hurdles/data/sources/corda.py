"""CORDA, COVID-19 X-rays from hospitals of Turin (Tartaglione et al. 2020; Barbano et al. 2024).

Licence: as its makers state with each release; none is assumed here.
Where: https://corsa.di.unito.it

Layout: ``CORDA_fix.csv`` (image_id, covid, rx) and folders named after both, with minus signs that
are part of the name: ``RX+-COVID+/``, ``RX+-COVID-/``, ``RX--COVID+/``, ``RX--COVID-/``, each with
``<image_id>.png``.
"""

from __future__ import annotations

from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.tally import Tally, walk

__all__ = ["read"]

_SIGNS = {"0": "-", "1": "+"}


@collection(
    "corda",
    title="CORDA, COVID Radiographic images Data-set for AI",
    licence="As stated by its makers with each release; ask them before use",
    citation="Tartaglione et al., Unveiling COVID-19 from Chest X-Ray with Deep Learning: A "
    "Hurdles Race with Small Data, Int. J. Environ. Res. Public Health 17 (2020) 6933, "
    "doi:10.3390/ijerph17186933; Barbano et al., arXiv:2405.11598",
    url="https://corsa.di.unito.it",
    quirks=(
        "The label is the result of the swab (COVID+ or COVID-), not what the image shows.",
        "RX+ and RX- tell whether a radiologist saw signs of pneumonia; the column 'finding' "
        "keeps it.",
        "RX--COVID+ are infected people whose X-ray looks clear: no model can be right on all of "
        "them.",
        "The table names no patients, so the patient stays empty.",
        "A controls' image may show any other disease: 'Not COVID-19' is not normal.",
    ),
    layouts=(
        Layout(
            "CORDA_fix.csv with image_id, covid and rx; folders RX+-COVID+/, RX+-COVID-/, "
            "RX--COVID+/, RX--COVID-/.",
            ("CORDA_fix.csv", "RX*-COVID*"),
            ("CORDA_fix.csv", ("image_id", "covid", "rx")),
        ),
    ),
    folders=("CORDA-dataset", "CORDA", "corda"),
)
def read(root: Path) -> Manifest:
    """Read the images that the table names; further columns: finding (RX+ or RX-)."""
    tally = Tally(root, "corda")
    seen = [file for folder in sorted(root.glob("RX*-COVID*")) for file in walk(folder)]
    files = {file.path for file in seen if not file.refusal}
    for row in read_rows(root / "CORDA_fix.csv"):
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        path = root / f"RX{rx}-COVID{covid}" / f"{row['image_id']}.png"
        if "?" in (covid, rx):
            tally.leave(path, f"covid is {row['covid']!r} and rx {row['rx']!r}; 0 and 1 are known")
        elif path not in files:
            tally.leave(path, "named in CORDA_fix.csv, but the file is missing")
        else:
            label = "COVID-19" if covid == "+" else "Not COVID-19"
            tally.keep(path, label, finding=f"RX{rx}")
    for file in seen:
        if file.refusal:
            tally.leave(file.path, file.refusal)
    tally.leave_rest(sorted(files), "not named in CORDA_fix.csv")
    return tally.manifest()


def _sign(cell: str) -> str:
    return _SIGNS.get(cell.removesuffix(".0"), "?")
