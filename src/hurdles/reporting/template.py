"""The templates of the pages: one place that loads them, and escapes whatever they are given.

What a terminal would obey is written out in pages too: they are read there as well.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hurdles.data.untrusted import shown
from hurdles.reporting import wording

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def template(name: str) -> Template:
    """Return a template by its file's name; a name that it uses must be given."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalized(value: object) -> object:
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("hurdles.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalized,
    )
    environment.filters["count"] = wording.count
    return environment
