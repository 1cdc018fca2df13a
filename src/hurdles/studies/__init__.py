"""Many experiments at once, each resumable, and the tables and the page of what is done."""

from hurdles.studies import embedding, published  # noqa: F401 - grids name what they register
from hurdles.studies.cells import Cell, cells_of
from hurdles.studies.grid import Grid, load_grid, shipped_studies
from hurdles.studies.runner import Study, StudyResult, find_study

__all__ = [
    "Cell",
    "Grid",
    "Study",
    "StudyResult",
    "cells_of",
    "find_study",
    "load_grid",
    "shipped_studies",
]
