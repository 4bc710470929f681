"""The certified radius: what poisoning within a budget can do at most (Sections 2.1, 2.2, A.1 to A.3).

`log_radius` is the theorem; the other modules supply what goes into it and what follows from it.
"""

from sparsefed.certify.along import Step, steps
from sparsefed.certify.budget import (
    ADDED,
    REPLACED,
    Counting,
    Known,
    OncePerEpoch,
    SampledPool,
    Threat,
    WorstCase,
    l1_budget,
    l2_budget,
)
from sparsefed.certify.certificate import (
    Bound,
    Certificate,
    certified_accuracy,
    gaps,
    l1_reach,
    l2_reach,
    surviving,
)
from sparsefed.certify.convergence import Descent, convergence_bound, descent
from sparsefed.certify.lipschitz import Oracle, local_steps, softmax_lipschitz, softmax_oracle
from sparsefed.certify.lower_bound import LowerBound, lipschitz_lower_bound
from sparsefed.certify.memory import convex_radii, error_bound_l2, held, log_memory_radii
from sparsefed.certify.radius import (
    Printed,
    algorithm3,
    log_radii,
    log_radius,
    log_weights,
    theorem1,
    theorem2,
    width,
)
from sparsefed.certify.report import certificate_table, plot_certificate
from sparsefed.certify.sparsity import Sparsity, measure, memory_bound, prior_gamma, prior_omega
from sparsefed.certify.study import Study, certificate
from sparsefed.certify.votes import (
    BoundedRidge,
    Certified,
    Certifier,
    Combined,
    Drawn,
    Hashed,
    Private,
    Ridge,
    Rounds,
    Smoothed,
    Votes,
)

__all__ = [
    "ADDED",
    "REPLACED",
    "Bound",
    "BoundedRidge",
    "Certificate",
    "Certified",
    "Certifier",
    "Combined",
    "Counting",
    "Descent",
    "Drawn",
    "Hashed",
    "Known",
    "LowerBound",
    "OncePerEpoch",
    "Printed",
    "Private",
    "Ridge",
    "Rounds",
    "SampledPool",
    "Smoothed",
    "Oracle",
    "Sparsity",
    "Step",
    "Study",
    "Threat",
    "Votes",
    "WorstCase",
    "algorithm3",
    "certificate",
    "certificate_table",
    "certified_accuracy",
    "convergence_bound",
    "convex_radii",
    "descent",
    "error_bound_l2",
    "gaps",
    "held",
    "l1_budget",
    "l1_reach",
    "l2_budget",
    "l2_reach",
    "lipschitz_lower_bound",
    "local_steps",
    "log_memory_radii",
    "log_radii",
    "log_radius",
    "log_weights",
    "measure",
    "memory_bound",
    "plot_certificate",
    "prior_gamma",
    "prior_omega",
    "softmax_lipschitz",
    "softmax_oracle",
    "steps",
    "surviving",
    "theorem1",
    "theorem2",
    "width",
]
