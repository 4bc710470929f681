"""A file of certificates: one federation, and several ways to certify what it predicts."""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from sparsefed.certify.votes.certifiers import Certified, Certifier, Votes
from sparsefed.certify.votes.groups import Hashed
from sparsefed.core.errors import SpecError, named
from sparsefed.core.merge import Tree
from sparsefed.core.origin import read_from
from sparsefed.core.spec import Spec
from sparsefed.core.text import amount
from sparsefed.core.toml import read_toml
from sparsefed.federation.experiment import Experiment, laid_over, read_base
from sparsefed.federation.round import Federation

__all__ = ["Entry", "Finding", "Plan", "findings", "read_plan", "voting_plan"]


class Entry(Spec):
    """One certificate of a plan."""

    by: Certifier
    """What certifies."""
    experiment: Tree = Field(default={})
    """Changes to the plan's experiment for this certificate."""


class Plan(Spec):
    """What a file of certificates holds."""

    title: str = ""
    """The heading."""
    compromised: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[])
    """Shares of the clients against which certified accuracy is printed; steps up to the last if empty."""
    seeds: list[Annotated[int, Field(strict=True, ge=0)]] = Field(default=[0], min_length=1)
    """Every certificate is made once for each."""
    base: Tree
    """The experiment that is certified; an attack in it plays no part."""
    certificates: dict[str, Entry] = Field(min_length=1)
    """The certificates by name."""

    def experiment(self, name: str, seed: int) -> Experiment:
        """The experiment of one certificate."""
        changes = self.certificates[name].experiment
        place = ("certificates", name, "experiment")
        return laid_over(self, self.base, place, changes, attack=None, seed=seed)


class Finding(NamedTuple):
    """One certificate of one seed."""

    name: str
    seed: int
    clients: int
    """How many there are."""
    labels: np.ndarray
    """The right classes, `[points]`."""
    certified: Certified


def findings(plan: Plan, folder: Path | None = None) -> Generator[tuple[str, int, int], None, list[Finding]]:
    """Make all certificates; yields the name of one, how many of its models are done and how many it has."""
    found = []
    for seed in plan.seeds:
        for name, entry in plan.certificates.items():
            with named(f"certificate `{name}`"):
                fed = Federation.of(plan.experiment(name, seed))
                steps = entry.by.run(fed, folder)
                while True:
                    try:
                        done = next(steps)
                    except StopIteration as end:
                        certified = end.value
                        break
                    yield name, done, entry.by.models
            found.append(
                Finding(name, seed, len(fed.population), fed.dataset.test.y.cpu().numpy(), certified)
            )
    return found


def read_plan(path: Path, changes: tuple[str, ...] = ()) -> Plan:
    """The plan in a TOML file; raises `SpecError` naming file and key."""
    content = read_toml(path, "an experiment or a file of certificates")
    if "base" not in content:
        raise SpecError("missing key; expected an experiment", ["base"], str(path))
    base, origin = read_base(path, content, changes)
    try:
        plan = read_from(Plan(**content | {"base": base}), origin)
    except SpecError as problem:
        raise problem.seen_from(str(path)) from None
    for name in plan.certificates:
        plan.experiment(name, plan.seeds[0])
    return plan


def voting_plan(path: Path, groups: list[int], changes: tuple[str, ...] = ()) -> Plan:
    """The plan that lets N groups of a file's experiment vote, for every N of `groups`.

    The file holds an experiment, or has one under `base`, as a table and a file of certificates have.
    """
    content = read_toml(path, "an experiment, a table or a file of certificates")
    base, origin = read_base(path, content, changes)
    entries = {f"{amount(count, 'group')}": Entry(by=Votes(groups=Hashed(groups=count))) for count in groups}
    seeds = [base.get("seed", 0)]
    return read_from(Plan(title=path.stem, seeds=seeds, base=base, certificates=entries), origin)
