"""Weak differential privacy: where the noise goes, that it can be replayed, and what it guarantees."""

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
import small
import torch

import sparsefed as sf
from sparsefed.attacks import FixedPerRound
from sparsefed.defenses import GaussianNoise, LiteralNoise, Mean
from sparsefed.defenses.privacy import Guarantee, gaussian_delta, gaussian_epsilon
from sparsefed.federation.round import Federation
from sparsefed.protocol.clips import QuantileClip
from sparsefed.protocol.dense import dense
from sparsefed.runs.results import exposure

SIZE = 40_000


def noise_of(
    rule: GaussianNoise, matrix: np.ndarray, lr: float, seed: int = 3, rounds: int = 1
) -> np.ndarray:
    """What the noise has added to the sum of all steps."""
    state, quiet = rule.init(torch.zeros(SIZE, dtype=torch.float64), seed), Mean(momentum=rule.momentum)
    plain = quiet.init(torch.zeros(SIZE, dtype=torch.float64))
    total = np.zeros(SIZE)
    for _ in range(rounds):
        delta, state = rule.step(dense(matrix), state, lr)
        expected, plain = quiet.step(dense(matrix), plain, lr)
        total += (delta - expected).numpy()
    return total


MATRIX = np.random.default_rng(0).normal(size=(8, SIZE))


def test_the_noise_on_the_mean_has_deviation_sigma_over_n() -> None:
    noise = noise_of(GaussianNoise(sigma=0.4), MATRIX, lr=0.1)
    assert noise.std() == pytest.approx(0.1 * 0.4 / 8, rel=0.02)
    assert abs(noise.mean()) < 5 * 0.1 * 0.4 / 8 / math.sqrt(SIZE)


def test_the_literal_noise_has_deviation_sigma_whatever_n_and_the_learning_rate_are() -> None:
    noise = noise_of(LiteralNoise(sigma=0.4), MATRIX, lr=0.1)
    assert noise.std() == pytest.approx(0.4, rel=0.02)


def test_noise_on_the_mean_enters_the_velocity_and_literal_noise_does_not() -> None:
    # Noise in round 1 moves the model by 1 + ρ noises within two rounds if it is in the velocity.
    inside = noise_of(GaussianNoise(sigma=8.0, momentum=0.5), MATRIX, lr=1.0, rounds=2)
    outside = noise_of(LiteralNoise(sigma=1.0, momentum=0.5), MATRIX, lr=1.0, rounds=2)
    assert inside.std() == pytest.approx(math.hypot(1.5, 1.0), rel=0.02)
    assert outside.std() == pytest.approx(math.hypot(1.0, 1.0), rel=0.02)


@pytest.mark.parametrize("kind", [GaussianNoise, LiteralNoise])
def test_the_noise_follows_from_seed_and_round_alone(kind: type[GaussianNoise]) -> None:
    rule = kind(sigma=1.0)
    start = rule.init(torch.zeros(SIZE), seed=5)
    first, middle = rule.step(dense(torch.zeros(3, SIZE)), start)
    again, _ = rule.step(dense(torch.zeros(3, SIZE)), start)
    second, _ = rule.step(dense(torch.zeros(3, SIZE)), middle)
    other, _ = rule.step(dense(torch.zeros(3, SIZE)), rule.init(torch.zeros(SIZE), seed=6))
    assert torch.equal(first, again)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.02
    assert int(start.round) == 0


def test_without_sigma_it_is_the_mean() -> None:
    assert not noise_of(GaussianNoise(sigma=0, momentum=0.9), MATRIX, lr=0.3, rounds=3).any()


def test_epsilon_and_delta_are_each_others_inverse() -> None:
    for multiplier in (0.05, 0.3, 1.0, 4.0, 30.0):
        for delta in (1e-9, 1e-5, 1e-2):
            epsilon = gaussian_epsilon(multiplier, delta)
            assert gaussian_delta(multiplier, epsilon) == pytest.approx(delta, rel=1e-6)


def test_delta_is_what_the_two_normal_densities_say() -> None:
    # δ(ε) = ∫ max(0, p − e^ε q), integrated numerically for N(1, z²) against N(0, z²).
    x = np.linspace(-40, 40, 2_000_001)
    for multiplier, epsilon in [(0.7, 1.0), (1.5, 0.2), (2.0, 3.0)]:
        p, q = (np.exp(-(((x - mean) / multiplier) ** 2) / 2) for mean in (1, 0))
        area = np.trapezoid(np.maximum(0, p - math.exp(epsilon) * q), x) / (
            multiplier * math.sqrt(2 * math.pi)
        )
        assert gaussian_delta(multiplier, epsilon) == pytest.approx(area, rel=1e-5)


def test_epsilon_agrees_with_an_accountant_of_privacy_losses() -> None:
    dp_accounting = pytest.importorskip(
        "dp_accounting", reason="pip install --no-deps -r tests/requirements-reference.txt"
    )
    from dp_accounting.pld import PLDAccountant

    for multiplier, times in [(1.0, 1), (4.0, 24), (10.0, 100), (0.5, 3)]:
        accountant = PLDAccountant()
        event = dp_accounting.GaussianDpEvent(multiplier)
        accountant.compose(dp_accounting.SelfComposedDpEvent(event, times))
        ours = gaussian_epsilon(multiplier / math.sqrt(times), 1e-5)
        assert ours == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-3)


def test_a_run_has_a_guarantee_only_where_everything_it_rests_on_is_there() -> None:
    fed = Federation.of(small.experiment(clip=sf.FixedClip(norm=0.5), defense=GaussianNoise(sigma=2.0)))

    def guarantee(**changes: object) -> Guarantee | None:
        other = replace(fed, spec=fed.spec.model_copy(update=changes))
        return other.spec.defense.privacy(exposure(other))

    def of(**changes: object) -> str:
        found = guarantee(**changes)
        assert found is not None
        return found.why

    given = guarantee()
    assert given is not None
    times = math.ceil(fed.spec.rounds / fed.rounds_per_epoch)
    assert given.epsilon == gaussian_epsilon(2.0 / 0.5 / math.sqrt(times), 1e-5)
    assert "no guarantee" not in given.why
    assert guarantee(defense=Mean()) is None
    assert of(defense=GaussianNoise(sigma=0)) == "no guarantee: the defense adds no noise"
    assert of(clip=sf.Unclipped()) == "no guarantee: updates are not clipped"
    assert of(clip=QuantileClip()) == "no guarantee: the clip follows norms that nothing protects"
    assert "worth the name" in of(defense=GaussianNoise(sigma=0.01))


def test_hardly_any_noise_is_no_privacy_and_no_crash() -> None:
    assert gaussian_epsilon(1e-12, 1e-5) == math.inf
    assert gaussian_epsilon(1e-8, 1e-5) > 1e14


def test_a_result_says_what_the_noise_gives() -> None:
    noisy = sf.simulate(small.experiment(clip=sf.FixedClip(norm=0.5), defense=GaussianNoise(sigma=2.0)))
    assert 0 < noisy["epsilon"] < math.inf
    assert noisy["delta"] == 1e-5
    assert "Gaussian noise" in noisy["privacy"]
    if importlib.util.find_spec("opacus"):
        assert "if every round drew each client independently (Poisson sampling)" in noisy["privacy"]
    loud = sf.simulate(small.experiment(clip=sf.Unclipped(), defense=GaussianNoise(sigma=2.0)))
    assert loud["epsilon"] is None
    assert loud["privacy"] == "no guarantee: updates are not clipped"


def test_momentum_weakens_only_the_literal_noise() -> None:
    for momentum in (0.0, 0.9):
        assert GaussianNoise(sigma=1.0, momentum=momentum).multiplier(5.0, 100, 0.2) == 0.2
    assert LiteralNoise(sigma=1.0).multiplier(5.0, 100, 0.2) == pytest.approx(100.0)
    assert LiteralNoise(sigma=1.0, momentum=0.9).multiplier(5.0, 100, 0.2) == pytest.approx(10.0)


def test_the_literal_multiplier_is_a_bound_and_by_how_much_is_said() -> None:
    # One update of length 1 changes all later steps by 1 / √(1 − ρ²) in ℓ2, not by 1 / (1 − ρ).
    for rho, gap in ((0.5, 1.73), (0.9, 4.36)):
        change = np.linalg.norm(rho ** np.arange(400))
        assert (1 / change) / LiteralNoise(sigma=1.0, momentum=rho).multiplier(1.0, 1, 1.0) == pytest.approx(
            gap, abs=0.01
        )


def test_what_one_update_changes_in_all_literal_steps_is_within_the_bound() -> None:
    # The multiplier claims an ℓ2 change of at most λL / (n(1 − ρ)) over all steps; √E of it for E updates.
    rho, lr, clip_norm, n = 0.9, 0.2, 5.0, 10
    for rounds_between in (1, 2, 7):
        changed = np.zeros(400)
        for start in range(0, 200, rounds_between):
            changed[start:] += lr * clip_norm / n * rho ** np.arange(400 - start)
        times = len(range(0, 200, rounds_between))
        assert np.linalg.norm(changed) <= math.sqrt(times) * lr * clip_norm / (n * (1 - rho))


@pytest.mark.parametrize("kind", [GaussianNoise, LiteralNoise])
def test_a_rejected_update_counts_as_zeros_and_leaves_the_noise_as_it_is(kind: type[GaussianNoise]) -> None:
    rule = kind(sigma=0.4, momentum=0.5)
    nan, zeros, nobody = MATRIX.copy(), MATRIX.copy(), np.full_like(MATRIX, np.nan)
    nan[2:5], zeros[2:5] = np.nan, 0
    start = rule.init(torch.zeros(SIZE, dtype=torch.float64), seed=5)
    for rejected, counted in ((nan, zeros), (nobody, np.zeros_like(MATRIX))):
        one, two = dense(rejected).admitted(9.0), dense(counted).admitted(9.0)
        assert one.count < two.count
        delta, memory = rule.step(one, start)
        expected, same = rule.step(two, start)
        torch.testing.assert_close(delta, expected)
        torch.testing.assert_close(memory.velocity, same.velocity)
        norms = [rule.diagnose(sent, memory, delta)["noise_norm"] for sent in (one, two)]
        assert norms[0] == norms[1]
    with pytest.raises(sf.UpdateError, match="expected at least 1 update, found 0"):
        rule.step(dense([], size=SIZE), start)


@pytest.mark.filterwarnings("ignore::sparsefed.federation.checks.RejectedUploads")
def test_attackers_who_have_themselves_rejected_change_a_private_run_like_zeros() -> None:
    class Sent(sf.Method):
        """Uploads of zeros, or of what no server lets in."""

        finite: bool

        def craft(self, view: sf.View, generator: torch.Generator) -> torch.Tensor:
            return torch.full((view.uploads, len(view.params)), 0.0 if self.finite else math.nan)

    ends = []
    for finite in (False, True):
        attack = small.attack(method=Sent(finite=finite), presence=FixedPerRound(count=9))
        spec = small.experiment(
            rounds=3, cohort=10, defense=GaussianNoise(sigma=0.1), clip=sf.FixedClip(norm=1.0), attack=attack
        )
        fed = Federation.of(spec)
        state = fed.initial_state
        for _ in range(3):
            state, report = sf.run_round(fed, state)
            assert report.skipped is None
        ends.append(state.params)
    torch.testing.assert_close(*ends)
