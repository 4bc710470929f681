"""One color per defense, the same in every picture, told apart by color-blind readers too (Okabe and Ito)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["ANCHORED", "BLACK", "GRAY", "MARKERS", "PALETTE", "UNDEFENDED", "color_of", "dashes", "styles"]

BLACK, GRAY = "#000000", "#9a9a9a"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#5E3C99")
ANCHORED = ", anchored"
"""Behind the name of a rule with an anchor; some have a color of their own then."""
UNDEFENDED = "undefended"
"""What a mean without a clip is called here: it has a color of its own, since a clip is a defense."""

DEFENSES = {
    UNDEFENDED: GRAY,
    "Mean": BLACK,
    "Mean, anchored": PALETTE[1],
    "SparseFed": PALETTE[0],
    "SparseFed, anchored": PALETTE[2],
    "AutoSparseFed": PALETTE[0],
    "FetchSGD": PALETTE[5],
    "PaperFetchSGD": PALETTE[5],
    "Median": PALETTE[2],
    "TrimmedMean": PALETTE[4],
    "Krum": PALETTE[1],
    "PaperKrum": PALETTE[1],
    "MultiKrum": PALETTE[6],
    "Bulyan": PALETTE[3],
    "PaperBulyan": PALETTE[3],
    "GaussianNoise": PALETTE[7],
    "LiteralNoise": PALETTE[7],
}
"""A variant has the color of the rule that it varies."""

DASHES = ("-", "--", ":", "-.")
MARKERS = {"-": "o", "--": "s", ":": "^", "-.": "D"}
"""Series of one color are told apart by their dashes; points, which have none, by these."""


def color_of(defense: str) -> str:
    """The color of a defense's class name; of a user's own class always the same one too."""
    known = DEFENSES.get(defense) or DEFENSES.get(defense.removesuffix(ANCHORED))
    return known or PALETTE[sum(defense.encode()) % len(PALETTE)]


def dashes(place: int) -> Any:
    """The dashes of a column by its place: one dash and ever more dots after the first four."""
    return DASHES[place] if place < len(DASHES) else (0, (6.0, 2.0) + (1.0, 2.0) * (place - 2))


def styles(defenses: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Color and dashes for the lines of a picture: each defense's color, dashes for those that share it.

    Where more lines share one than there are dashes, as in a table of attacks on one rule, color follows
    the order of all lines instead.
    """
    colors = [color_of(name) for name in defenses]
    crowded = max(Counter(colors).values(), default=0) > len(DASHES)
    for place, color in enumerate(colors):
        if crowded:
            yield PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]
        else:
            yield color, DASHES[colors[:place].count(color)]
