"""The certificates of benchmarks/certificates/*.toml as table and picture in docs/results/certificate.md.

`python -m benchmarks.certified` makes what is missing, for one seed after the other, and writes the page;
`python -m benchmarks.certified page` only writes it. Needs MNIST, QMNIST and CIFAR-10, and hours for
everything; it resumes where it was stopped.
"""

import json
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from sparsefed.certify.votes import Drawn, Finding, Plan, Votes, cast, read_plan, tally
from sparsefed.core.errors import SparseFedError
from sparsefed.core.files import write_atomically
from sparsefed.federation.experiment import Experiment
from sparsefed.federation.round import Federation
from sparsefed.report.colors import PALETTE
from sparsefed.report.figures import blank_figure, panel_title, save
from sparsefed.report.markdown import grid

ROOT = Path(__file__).parents[1]
PLANS = ("mnist_one_class", "mnist_iid", "qmnist_writers", "cifar10_iid")
RESULTS = ROOT / "docs" / "results" / "certificates.json"
PICTURE = ROOT / "docs" / "results" / "certificates.png"
VOTES = ROOT / "runs" / "votes"
SEEDS = (0, 1, 2)
STEPS = 16


def attacked(fed: Federation, by: Votes, found: Finding, counts: list[int]) -> list[float] | None:
    """Accuracy under one attack of so many clients on all points at once; None where there are no groups.

    The strongest that we know: its clients own the models of their groups, which then vote for the runner-up
    of every point. They are in the groups that are right most often; where groups overlap, anywhere.
    """
    if not isinstance(by, Votes):
        return None
    members = by.groups.members(found.clients, fed.spec.seed)
    votes = _returned(cast(fed, by.trainer, members, VOTES)).votes
    counted = tally(votes, fed.dataset.classes)
    points = np.arange(len(found.labels))
    counted[points, counted.argmax(1)] = -1
    rivals = counted.argmax(1)
    order = np.argsort(-(votes == found.labels).sum(1), kind="stable")
    accuracies = []
    for count in counts:
        if isinstance(by.groups, Drawn) or by.groups.copies > 1:
            bad = np.random.default_rng(0).choice(found.clients, min(count, found.clients), replace=False)
            lost = [group for group, own in enumerate(members) if np.isin(own, bad).any()]
        else:
            lost = order[:count].tolist()
        forged = votes.copy()
        forged[lost] = rivals
        right = tally(forged, fed.dataset.classes).argmax(1) == found.labels
        accuracies.append(100 * float(right.mean()))
    return accuracies


def make(plan_name: str, seed: int) -> Iterator[str]:
    """Make the certificates of a plan and seed that are missing; yields the name of each when it is done."""
    plan = read_plan(ROOT / "benchmarks" / "certificates" / f"{plan_name}.toml")
    for name, entry in plan.certificates.items():
        key = f"{plan_name} | {name} | seed {seed}"
        rows, identity = (
            known(),
            {"by": entry.by.to_dict(), "experiment": plan.experiment(name, seed).digest()},
        )
        if rows.get(key, {}).get("identity") == identity:
            continue
        start = time.monotonic()
        try:
            fed = _federation(plan.experiment(name, seed))
            labels = fed.dataset.test.y.numpy()
            found = Finding(name, seed, len(fed.population), labels, _returned(entry.by.run(fed, VOTES)))
        except SparseFedError as problem:
            print(f"{key}: {problem}", file=sys.stderr, flush=True)
            continue
        counts = asked(plan, found.clients)
        right = np.where(found.certified.predictions == found.labels, found.certified.survived, -1)
        last = max(counts[-1], int(right.max()) + 1)
        curve = sorted({0, *counts, *np.linspace(0, last, STEPS).round().astype(int).tolist()})
        alone = found.certified.alone
        rows[key] = {
            "identity": identity,
            "models": found.certified.models,
            "clients": found.clients,
            "accuracy": found.certified.accuracy(found.labels),
            "one_model": None if alone is None else 100 * float((alone == found.labels).mean()),
            "counts": curve,
            "certified": [found.certified.percent(found.labels, count) for count in curve],
            "attacked": attacked(fed, entry.by, found, curve),
        }
        write_atomically(RESULTS, (json.dumps(rows, indent=1) + "\n").encode())
        yield f"{key}: {time.monotonic() - start:.0f} s"


def known() -> dict:
    """The rows so far, by plan, certificate and seed."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def asked(plan: Plan, clients: int) -> list[int]:
    """The plan's shares as numbers of clients."""
    return [max(1, round(share * clients)) for share in plan.compromised]


def section(plan_name: str, rows: dict) -> str:
    """A plan as a heading and a table: certified accuracy, and in parentheses the accuracy under attack."""
    plan = read_plan(ROOT / "benchmarks" / "certificates" / f"{plan_name}.toml")
    own = {name: seeds_of(plan_name, name, rows) for name in plan.certificates}
    own = {name: seeds for name, seeds in own.items() if seeds}
    if not own:
        return ""
    counts = asked(plan, next(iter(own.values()))[0]["clients"])
    heads = ["certificate", "models", "one model %", "test %"]
    heads += [f"{share:.1%} (m = {m})" for share, m in zip(plan.compromised, counts, strict=True)] + ["seeds"]
    lines = [[name, *cells(seeds, counts)] for name, seeds in own.items()]
    return f"### {plan.title}\n\n{grid(heads, lines, 1)}"


def cells(seeds: list[dict], counts: list[int]) -> list[str]:
    """One line of the table."""
    one = [row["one_model"] for row in seeds if row["one_model"] is not None]
    shown = [f"{seeds[0]['models']:,}", f"{fmean(one):.1f}" if one else "–"]
    shown.append(f"{fmean(row['accuracy'] for row in seeds):.1f}")
    for count in counts:
        certified = fmean(row["certified"][row["counts"].index(count)] for row in seeds)
        text = f"{certified:.1f}"
        if seeds[0]["attacked"] is not None:
            text += f" ({fmean(row['attacked'][row['counts'].index(count)] for row in seeds):.1f})"
        shown.append(text)
    return [*shown, str(len(seeds))]


def seeds_of(plan_name: str, name: str, rows: dict) -> list[dict]:
    """The rows of a certificate that have been made."""
    keys = [f"{plan_name} | {name} | seed {seed}" for seed in SEEDS]
    return [rows[key] for key in keys if key in rows]


def draw(rows: dict) -> None:
    """Certified accuracy of the first seed, solid, and accuracy under attack, dotted, a panel per plan."""
    made = [name for name in PLANS if any(key.startswith(f"{name} |") for key in rows)]
    figure = blank_figure(8.5, 3.6 * len(made))
    panels = figure.subplots(len(made), 1, squeeze=False)[:, 0]
    for panel, plan_name in zip(panels, made, strict=True):
        plan = read_plan(ROOT / "benchmarks" / "certificates" / f"{plan_name}.toml")
        names = [name for name in plan.certificates if f"{plan_name} | {name} | seed 0" in rows]
        for place, name in enumerate(names):
            row, color = rows[f"{plan_name} | {name} | seed 0"], PALETTE[place % len(PALETTE)]
            dashes = ("-", "--", "-.")[place // len(PALETTE) % 3]
            share = 100 * np.array(row["counts"]) / row["clients"]
            panel.plot(share, row["certified"], color=color, ls=dashes, lw=1.6, label=name)
            if row["attacked"] is not None:
                panel.plot(share, row["attacked"], color=color, ls=":", lw=1)
        panel_title(panel, plan.title, 70)
        panel.set(xlabel="compromised clients, %", ylabel="certified (dotted: attacked), %", ylim=(0, 101))
        panel.set_xlim(0, 100 * 1.6 * plan.compromised[-1])
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, PICTURE)


def write_page() -> None:
    """Put the tables between their marks."""
    rows = known()
    draw(rows)
    page = ROOT / "docs" / "results" / "certificate.md"
    before, _, rest = page.read_text().partition("<!-- votes -->\n")
    after = rest.partition("<!-- /votes -->")[2]
    body = "\n\n".join(filter(None, (section(name, rows) for name in PLANS)))
    page.write_text(f"{before}<!-- votes -->\n{body}\n<!-- /votes -->{after}")


@cache
def _prepared(experiment: str) -> Federation:
    return Federation.of(Experiment(**json.loads(experiment)))


def _federation(experiment: Experiment) -> Federation:
    """The federation of an experiment, made once."""
    return _prepared(json.dumps(experiment.to_dict(), sort_keys=True))


def _returned(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def main(words: list[str]) -> None:
    torch.set_num_threads(1)  # the evidence shares its machine
    if words != ["page"]:
        for seed in SEEDS:
            for name in words or PLANS:
                for line in make(name, seed):
                    print(line, flush=True)
    write_page()


if __name__ == "__main__":
    main(sys.argv[1:])
