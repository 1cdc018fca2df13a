"""What the terminal says of a table of images."""

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.reporting.console import manifest_lines, manifest_summary


def test_images_of_no_known_source_are_counted_beside_the_sources():
    frame = pd.DataFrame({"image": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"]})
    some = Manifest(frame.assign(label="x", source=["A", None, None]))
    assert "sources: A; not named: 2 images" in list(manifest_lines(some))
    assert manifest_summary(some)["images_without_source"] == 2
    assert "sources: A" in list(manifest_lines(Manifest(frame.assign(label="x", source="A"))))
    assert "sources: not named" in list(manifest_lines(Manifest(frame.assign(label="x"))))
