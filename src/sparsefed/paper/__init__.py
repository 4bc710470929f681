"""The paper, table by table: what it prints, and the experiments that show whether it holds."""

from sparsefed.paper.items import Item, Scaled, find_item, items
from sparsefed.paper.pictures import draw
from sparsefed.paper.scales import SCALES, read_scale

__all__ = ["SCALES", "Item", "Scaled", "draw", "find_item", "items", "read_scale"]
