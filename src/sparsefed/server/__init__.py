"""The server of a real federation: what nodes send, checked; the defense; a checkpoint after every round."""

from sparsefed.server.keeper import Keeper
from sparsefed.server.layout import Layout
from sparsefed.server.medians import medians
from sparsefed.server.rules import Round, Rules, Upload

__all__ = ["Keeper", "Layout", "Round", "Rules", "Upload", "medians"]
