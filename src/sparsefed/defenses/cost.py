"""What a rule costs a server and what it must be given: declared by every rule, printed by the reference."""

from typing import NamedTuple

__all__ = ["Cost"]


class Cost(NamedTuple):
    """Orders of growth for n clients and d parameters in a round, and what must reach the server."""

    time: str
    """Operations of a round."""
    memory: str
    """Numbers held at once, those kept between rounds included."""
    sums: int | None
    """How many sums over clients the rule lives on, each of what a client computes from its own update and
    from what the server has sent; secure aggregation delivers such sums. None where the server must see
    updates one by one."""
