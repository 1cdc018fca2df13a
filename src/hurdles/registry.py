"""One small registry: a decorator, and a lookup that lists the options."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from hurdles.errors import RegistryError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind, in the order in which they were registered.

    Parameters
    ----------
    kind : str
        What is registered, in the singular: it appears in error messages.
    alphabetical : bool, optional
        Whether they are in the order of their names instead.

    Examples
    --------
    >>> colors: Registry[int] = Registry("color")
    >>> _ = colors.register("red")(0xFF0000)
    >>> colors.get("red")
    16711680
    >>> colors.get("rde")
    Traceback (most recent call last):
    hurdles.errors.RegistryError: no color is called 'rde'; did you mean 'red'? Known: red.
    """

    def __init__(self, kind: str, *, alphabetical: bool = False) -> None:
        self.kind = kind
        self.alphabetical = alphabetical
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; a second use raises."""

        def keep(item: T) -> T:
            if name in self._items:
                raise RegistryError(
                    f"a {self.kind} called {name!r} is registered already; choose another name."
                )
            self._items[name] = item
            if self.alphabetical:
                self._items = dict(sorted(self._items.items()))
            return item

        return keep

    def get(self, name: str) -> T:
        """Return what is registered as `name`; an unknown name raises and lists the known ones."""
        if name in self._items:
            return self._items[name]
        close = difflib.get_close_matches(name, self._items, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        known = ", ".join(self._items) or "none"
        raise RegistryError(f"no {self.kind} is called {name!r}{hint} Known: {known}.")

    def names(self) -> list[str]:
        """Return every registered name."""
        return list(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
