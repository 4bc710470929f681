"""The tables of docs/results/certificate.md: `python -m benchmarks.certificate` writes them again.

Needs MNIST (`sparsefed data` says where); takes some minutes. `tightness` or `certified` writes one only.
"""

import platform
import sys
import time
from pathlib import Path

import torch

import sparsefed
from sparsefed.certify import (
    Certificate,
    Counting,
    OncePerEpoch,
    SampledPool,
    Study,
    WorstCase,
    plot_certificate,
)
from sparsefed.certify.report import power
from sparsefed.data import MNIST, Digits, OneClass
from sparsefed.defenses import SparseFed
from sparsefed.federation.experiment import Experiment, read_experiment
from sparsefed.protocol.clips import FixedClip
from sparsefed.protocol.schedules import Constant, Triangular

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "certify"))
SHARES = (0.001, 0.005, 0.01, 0.02)

EVERYONE = read_experiment(ROOT / "examples" / "certify_mnist.toml").but(attack=None)
SHORT = EVERYONE.but(rounds=10, schedule=Constant(value=0.0002), clip=FixedClip(norm=2.4))
TENTH = SHORT.but(cohort=100)
SLOW = TENTH.but(rounds=400, schedule=Constant(value=0.000005))
PAPER = EVERYONE.but(
    rounds=2400,
    cohort=100,
    partition=OneClass(clients=10_000),
    schedule=Triangular(peak=0.2),
    clip=FixedClip(norm=5.0),
    defense=SparseFed(k=1000, momentum=0.9),
    precision="float32",
)
SETTINGS: dict[str, tuple[Experiment, Counting]] = {
    "mean, Λ = 0.002": (SHORT, OncePerEpoch()),
    "mean, Λ = 0.1": (EVERYONE.but(schedule=Constant(value=0.005), clip=FixedClip(norm=2.6)), OncePerEpoch()),
    "mean, Λ = 1, 100 a round": (
        TENTH.but(rounds=50, schedule=Constant(value=0.02), clip=FixedClip(norm=3.5)),
        OncePerEpoch(),
    ),
    "mean, Λ = 0.002, 100 a round": (TENTH, OncePerEpoch()),
    "the same, counted by chance": (TENTH, SampledPool(confidence=0.999)),
    "the same, worst case": (TENTH, WorstCase()),
    "mean, Λ = 0.002, one class a client": (
        SHORT.but(cohort=10_000, partition=OneClass(clients=10_000), clip=FixedClip(norm=13.0)),
        OncePerEpoch(),
    ),
    "SparseFed k = d/2, Λ = 0.002, 100 a round": (SLOW.but(defense=SparseFed(k=3920)), OncePerEpoch()),
    "SparseFed k = d/10, Λ = 0.002, 100 a round": (SLOW.but(defense=SparseFed(k=784)), OncePerEpoch()),
    "the paper's setting, k = 1,000": (PAPER, SampledPool(confidence=0.999)),
}


def certified_table() -> list[str]:
    """Certified accuracy by setting and share of compromised clients."""
    heads = [f"{share:.1%}" for share in SHARES]
    lines = [
        f"| setting | test % | bound | {' | '.join(heads)} | R at {heads[0]} |",
        f"|---|---|---|{'---|' * len(heads)}---|",
    ]
    studies: dict[str, Study] = {}
    for name, (experiment, counting) in SETTINGS.items():
        start = time.monotonic()
        study = studies.setdefault(experiment.digest(), None) or Study.of(experiment)
        studies[experiment.digest()] = study
        clients = len(study.fed.population)
        made = [study.against(round(share * clients), counting) for share in SHARES]
        lines += rows(name, made)
        if name.startswith("SparseFed k = d/2"):
            plot_certificate(made[0], ROOT / "docs" / "results" / "certificate.png")
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return lines


def rows(name: str, made: list[Certificate]) -> list[str]:
    """One line per proven bound of a setting."""
    lines = []
    for place, bound in enumerate(made[0].bounds):
        same = [certificate.bounds[place] for certificate in made]
        verdicts = {bound.verdict for bound in same}
        if bound.name == "update sizes alone" or not verdicts & {"certified", "vacuous"}:
            continue
        cells = [f"{b.certified:.1f}" if b.certified else b.verdict for b in same]
        accuracy = f"{made[0].points.accuracy:.1f}"
        radius = power(bound.log_radius, bound.norm)
        lines.append(f"| {name} | {accuracy} | {bound.name} | {' | '.join(cells)} | {radius} |")
    return lines


def tightness_table() -> list[str]:
    """How much of each radius the worst of thousands of poisons reaches."""
    from certify_twins import Twins
    from test_twins import SERVERS, first

    torch.manual_seed(0)
    lines = ["| data | server | poisons | radius | reached |", "|---|---|---|---|---|"]
    for data, examples, count in ((Digits(), 300, 2000), (MNIST(), 300, 160)):
        regression = first(data, examples)
        for share, momentum in SERVERS:
            twins = Twins(regression, None if share is None else round(share * regression.params), momentum)
            reached: dict[str, float] = {}
            for seed in range(count // 80):
                drawn = twins.random(80, seed)
                poison = drawn if seed else torch.cat([drawn, twins.searched(drawn, steps=40)], dim=1)
                for name, part in twins.checked(poison).items():
                    reached[name] = max(part, reached.get(name, 0.0))
            server = "mean" if share is None else f"SparseFed k = {share:g} d"
            server += f", momentum {momentum:g}" if momentum else ""
            poisons = f"{count} drawn, 4 searched"
            lines += [
                f"| {type(data).__name__} | {server} | {poisons} | {n} | {part:.2%} |"
                for n, part in reached.items()
            ]
    return lines


def main(wanted: list[str]) -> None:
    """Write the wanted tables, or all, between their marks in docs/results/certificate.md."""
    torch.set_num_threads(1)  # many small products: a second thread would only wait
    page = ROOT / "docs" / "results" / "certificate.md"
    text = page.read_text()
    tables = {"tightness": tightness_table, "certified": certified_table}
    for mark in wanted or tables:
        before, _, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition(f"<!-- /{mark} -->")
        text = f"{before}<!-- {mark} -->\n" + "\n".join(tables[mark]()) + f"\n{end}{after}"
    versions = f"sparsefed {sparsefed.__version__}, torch {torch.__version__}, {platform.machine()}"
    before, _, rest = text.partition("<!-- made -->")
    text = f"{before}<!-- made -->Made with {versions}.<!-- /made -->{rest.partition('<!-- /made -->')[2]}"
    page.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
