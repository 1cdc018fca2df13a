"""Many experiments at once, each resumable, and the table of what is done."""

from hurdles.studies.study import STUDIES, Cell, Profile, Study, StudyResult, study

__all__ = ["STUDIES", "Cell", "Profile", "Study", "StudyResult", "study"]
