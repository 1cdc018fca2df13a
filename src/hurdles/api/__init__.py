# ruff: noqa: F403 - `hurdles.__all__` lists the verbs, and nothing else is taken from here
"""The verbs: one function each, the same in Python and on the command line; `hurdles` lists them.

Libraries that take long to load are imported where a verb uses them.
"""

from hurdles.api.auditing import *
from hurdles.api.encoders import *
from hurdles.api.evidence import *
from hurdles.api.experiments import *
from hurdles.api.foreign import *
from hurdles.api.images import *
from hurdles.api.learning import *
from hurdles.api.using import *
