"""The verbs: one function each, the same in Python and on the command line; `hurdles` lists them.

Libraries that take long to load are imported where a verb uses them.
"""

from hurdles.api.auditing import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.encoders import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.evidence import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.experiments import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.foreign import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.images import *  # noqa: F403 - its `__all__` are verbs
from hurdles.api.using import *  # noqa: F403 - its `__all__` are verbs
