"""The images of a race: collections, split once, and the sets that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from hurdles.data.manifest import Manifest
from hurdles.data.sets import gathered, relabeled, sampled
from hurdles.data.split import split
from hurdles.data.vocabulary import MissingPatients
from hurdles.errors import CollectionError

#: Shares of training, validation and test, as in the code of Tartaglione et al. 2020: 30 % test,
#: then 20 % of the rest.
FRACTIONS = (0.56, 0.14, 0.30)
#: Of every split and sample of a race: all its models are asked about the same images.
SEED = 0


@dataclass(frozen=True)
class Collection:
    """A collection as a race uses it.

    Parameters
    ----------
    names : tuple of str
        Public collections that can stand for it; the first that is here does.
    drop : tuple of str
        Classes that are left out, where they occur.
    whole : bool
        Whether models are asked about all its images, not only about its test part.
    """

    names: tuple[str, ...]
    drop: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class ImageSet:
    """A set of images to train or to test on.

    Parameters
    ----------
    needs : tuple of str
        Collections that it is made of.
    make : callable
        From the collections, split, to the set, split.
    of_covid : bool
        Whether its class ``COVID-19`` is COVID-19. If not, every image is COVID-negative, and the
        column holds those with another finding (RX+).
    says : str
        What it is, for the page.
    """

    needs: tuple[str, ...]
    make: Callable[[Mapping[str, Manifest]], Manifest]
    of_covid: bool = True
    says: str = ""


def _nobody(here: Mapping[str, Manifest]) -> list[tuple[str, str]]:
    """Know no patient of two collections by name."""
    del here
    return []


@dataclass(frozen=True)
class Design:
    """What a race is run with.

    Parameters
    ----------
    collections, training, tests : mapping
        By name. A training set's own test part is the test set of the same name, if there is one.
    same_patients : callable, optional
        Pairs of groups of two collections that are known by name to be one patient.
    """

    collections: Mapping[str, Collection]
    training: Mapping[str, ImageSet]
    tests: Mapping[str, ImageSet]
    same_patients: Callable[[Mapping[str, Manifest]], list[tuple[str, str]]] = _nobody

    @property
    def public_names(self) -> tuple[str, ...]:
        """Every public collection that can be of use."""
        return tuple(name for c in self.collections.values() for name in c.names)

    def lacking(self, needs: Iterable[str], here: Mapping[str, Manifest]) -> list[str]:
        """Return which of these collections are not here."""
        return [name for name in needs if name not in here]

    def taken(
        self, found: Mapping[str, Manifest], limits: Mapping[str, int]
    ) -> dict[str, Manifest]:
        """Return the collections that are here, sampled, named and split."""
        chosen: dict[str, Manifest] = {}
        for name, collection in self.collections.items():
            first = next((n for n in collection.names if n in found), None)
            if first is not None:
                chosen[name] = _without(found[first], collection.drop)
        return {
            name: parted(sampled(m, limits[name], seed=SEED) if name in limits else m)
            for name, m in gathered(chosen).items()
        }

    def made(self, image_set: ImageSet, here: Mapping[str, Manifest]) -> Manifest:
        """Return a set's images."""
        if lacking := self.lacking(image_set.needs, here):
            names = " or ".join(self.collections[lacking[0]].names)
            raise CollectionError(f"not here: {lacking[0]}. Give --data {names}=PATH.")
        return image_set.make(here)


def parted(manifest: Manifest) -> Manifest:
    """Return a collection split by patient; an image whose patient is not known is one."""
    one_each = MissingPatients.ONE_EACH
    return split(manifest, fractions=FRACTIONS, seed=SEED, missing_patients=one_each)


def _without(manifest: Manifest, drop: tuple[str, ...]) -> Manifest:
    """Leave classes out, and forget what the collection itself left out: its reader has said it."""
    there = [label for label in drop if label in manifest.labels]
    kept = relabeled(manifest, {}, drop=there)
    return replace(kept, exclusions=kept.exclusions.iloc[:0])
