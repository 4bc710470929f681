"""Votes among the models of groups of clients: certificates for any model, training rule and update."""

from sparsefed.certify.votes.ballots import cast
from sparsefed.certify.votes.bounded import BoundedRidge
from sparsefed.certify.votes.certifiers import Certified, Certifier, Combined, Votes
from sparsefed.certify.votes.groups import Drawn, Grouping, Hashed, tally
from sparsefed.certify.votes.noisy import Private, Radius, Smoothed
from sparsefed.certify.votes.plan import Entry, Finding, Plan, findings, read_plan, voting_plan
from sparsefed.certify.votes.trainers import Opinions, Ridge, Rounds, Trainer

__all__ = [
    "BoundedRidge",
    "Certified",
    "Certifier",
    "Combined",
    "Drawn",
    "Entry",
    "Finding",
    "Grouping",
    "Hashed",
    "Opinions",
    "Plan",
    "Private",
    "Radius",
    "Ridge",
    "Rounds",
    "Smoothed",
    "Trainer",
    "Votes",
    "cast",
    "findings",
    "read_plan",
    "tally",
    "voting_plan",
]
