"""Our attacks against byzfl's, which no one here wrote.

byzfl adds z standard deviations, of n − 1, where the paper subtracts them, of n.
"""

from types import ModuleType

import numpy as np
import pytest
import reference_implementations

from sparsefed.attacks import ALIE, IPM
from sparsefed.protocol.dense import dense


@pytest.fixture(scope="module")
def byzfl() -> ModuleType:
    return reference_implementations.byzfl_attacks()


@pytest.mark.parametrize("seed", range(20))
def test_alie_and_ipm_agree_with_byzfl(byzfl: ModuleType, seed: int):
    rows = np.random.default_rng(seed).normal(size=(12, 30))
    mean, honest = rows.mean(axis=0), dense(rows)
    ours = mean + 1.5 * np.sqrt(12 / 11) * ALIE().direction(honest).numpy()
    np.testing.assert_allclose(ours, byzfl.ALittleIsEnough(tau=-1.5)(rows), atol=1e-12)
    ours = mean + (1 + 2.0) * IPM().direction(honest).numpy()
    np.testing.assert_allclose(ours, byzfl.InnerProductManipulation(tau=2.0)(rows), atol=1e-12)
