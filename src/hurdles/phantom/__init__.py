"""Synthetic chest radiographs, seeded, with lung masks and shortcuts of known strength.

The embedded default of the program: simple anatomy, projected and attenuated (Beer-Lambert),
with opacities whose place and texture differ by class. No patient was ever behind one.

==============  ===============================================================
`parameters`    patients, images, hospitals as plain data, how they are drawn, and shortcuts
`anatomy`       path lengths through body, lungs, heart, bones and vessels
`render`        one image from its parameters: exposure, noise, film curve, markers
`cohort`        many images, in memory and as files
==============  ===============================================================
"""

from hurdles.phantom.cohort import Case, Cohort, draw_cohort, phantom_cohort, write_phantom
from hurdles.phantom.parameters import SHORTCUTS, Blob, ImageParameters, PatientParameters, Shortcut
from hurdles.phantom.render import Rendered, render

__all__ = [
    "SHORTCUTS",
    "Blob",
    "Case",
    "Cohort",
    "ImageParameters",
    "PatientParameters",
    "Rendered",
    "Shortcut",
    "draw_cohort",
    "phantom_cohort",
    "render",
    "write_phantom",
]
