"""Where the keys of a specification were written, so that whatever goes wrong later can name the place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sparsefed.core.errors import SparseFedError, SpecError
from sparsefed.core.merge import Tree, merged, nested
from sparsefed.core.toml import toml_value

__all__ = ["Layer", "Origin", "Typed", "laid", "origin_of", "read_from"]

T = TypeVar("T")


@dataclass(frozen=True)
class Layer:
    """Some keys that one place of one file gives."""

    changes: Tree
    owner: str = ""
    """The file, as messages name it; empty where the caller names it."""
    place: tuple[str, ...] = ()
    """The keys in the file that lead to these, such as `("rows", "Mean")`."""

    def blamed(self, problem: SpecError) -> SpecError:
        """The complaint with this place in it."""
        return problem.seen_from(self.owner, self.place)


@dataclass(frozen=True)
class Typed(Layer):
    """Changes that were typed after `--set`."""

    words: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """What was typed, by key."""

    @classmethod
    def of(cls, changes: Iterable[str]) -> "Typed":
        """All `defense.k=5000` as one layer, so that their order does not matter.

        Values are TOML; what is not TOML is text, so that words need no quotes.
        """
        values: dict[tuple[str, ...], Any] = {}
        words = {}
        for change in changes:
            key, equals, text = change.partition("=")
            path = tuple(word.strip() for word in key.split("."))
            if not (equals and all(path)):
                raise SpecError(f"--set {change}: expected the form key.path=value")
            try:
                values[path] = toml_value(text)
            except SpecError as problem:
                raise problem.seen_from(f"--set {change}") from None
            words[path] = change
        return cls(nested(values), words=words)

    def blamed(self, problem: SpecError) -> SpecError:
        path = max(self.words, key=lambda path: _shared(path, problem.path))
        return problem.seen_from(f"--set {self.words[path]}")


@dataclass(frozen=True)
class Origin:
    """All layers of a specification, those that had their way last."""

    whole: str = ""
    """What is named where no single layer is wrong."""
    layers: tuple[Layer, ...] = ()

    def blamed(self, problem: SpecError) -> SpecError:
        """The complaint with the place that gave the key, or as much of the way to it as was given."""
        depths = [_depth(layer.changes, problem.path) for layer in self.layers]
        deepest = max(depths, default=0)
        if deepest == 0:
            return problem.seen_from(self.whole)
        last = max(place for place, depth in enumerate(depths) if depth == deepest)
        return self.layers[last].blamed(problem)

    @contextmanager
    def about(self, *path: str) -> Iterator[None]:
        """Say the file and the key of what is made inside, in front of any error about it."""
        try:
            yield
        except SpecError as problem:
            blamed = self.blamed(problem.seen_from("", path))
            raise blamed.with_traceback(problem.__traceback__) from problem.__cause__
        except SparseFedError as problem:
            problem.args = (str(self.blamed(SpecError(str(problem), path))),)
            raise


def laid(layers: Iterable[Layer]) -> Tree:
    """All layers as one tree; raises `SpecError` that names the layer that does not fit."""
    tree: Tree = {}
    for layer in layers:
        try:
            tree = merged(tree, layer.changes)
        except SpecError as problem:
            raise layer.blamed(problem) from None
    return tree


def read_from(spec: T, origin: Origin) -> T:
    """`spec`, which from now on knows where its keys were written.

    That is no part of a specification: equality, digests and copies with changes ignore it.
    """
    spec.__dict__["_origin"] = origin
    return spec


def origin_of(spec: object) -> Origin:
    """Where the keys of a specification were written; empty for one that was made in Python."""
    return spec.__dict__.get("_origin", Origin())


def _shared(path: Sequence[str], other: Sequence[str]) -> int:
    """How many keys two paths have in common, from their beginning."""
    same = [one == another for one, another in zip(path, other, strict=False)]
    return same.index(False) if False in same else len(same)


def _depth(tree: Any, path: Sequence[str]) -> int:
    """How many keys of `path` are there, from its beginning."""
    for depth, key in enumerate(path):
        if not (isinstance(tree, dict) and key in tree):
            return depth
        tree = tree[key]
    return len(path)
