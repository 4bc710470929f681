"""How many compromised clients a majority vote survives: exact counting, for every point and rival class.

The theorems stand in docs/votes.md. `votes` are `[points, groups]`, `counts` `[points, classes]`; the winner
of a point has the most votes, and of equals the smallest class.
"""

import numpy as np

from sparsefed.kernels.compiled import kernel

__all__ = ["survived_at_costs", "survived_when_spread"]


def survived_when_spread(
    votes: np.ndarray, winners: np.ndarray, counts: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """How many compromised clients change no winner, int64 `[points]`, where clients are in several groups.

    Those of bucket b are in the groups (b + s) mod `groups` for s in `shifts`, and decide their votes.
    """
    found = np.empty(len(votes), np.int64)
    _spread(np.ascontiguousarray(votes), winners, counts, shifts, found)
    return found


def survived_at_costs(
    votes: np.ndarray, winners: np.ndarray, counts: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """The same for one group per client, where changing a vote takes `costs` compromised clients.

    `costs` are whole numbers of at least 1, `[points, groups]`.
    """
    found = np.empty(len(votes), np.int64)
    _costs(np.ascontiguousarray(votes), winners, counts, np.ascontiguousarray(costs), found)
    return found


@kernel()
def _spread(votes, winners, counts, shifts, found):
    points, groups = votes.shape
    copies = len(shifts)
    swings, powers = np.empty(groups, np.int64), np.empty(2 * copies + 1, np.int64)
    for p in range(points):
        winner, least = winners[p], groups
        for rival in range(counts.shape[1]):
            if rival == winner:
                continue
            left = counts[p, winner] - counts[p, rival] - (1 if rival < winner else 0)
            for g in range(groups):
                vote = votes[p, g]
                swings[g] = 2 if vote == winner else (0 if vote == rival else 1)
            powers[:] = 0
            for bucket in range(groups):
                power = 0
                for s in range(copies):
                    power += swings[(bucket + shifts[s]) % groups]
                powers[power] += 1
            survived = 0
            for power in range(2 * copies, 0, -1):  # the strongest buckets first
                most = left // power
                if most < powers[power]:
                    survived += most
                    break
                survived += powers[power]
                left -= power * powers[power]
            least = min(least, survived)
        found[p] = least


@kernel()
def _costs(votes, winners, counts, costs, found):
    points, groups = votes.shape
    pairs, singles = np.empty(groups + 1, np.int64), np.empty(groups + 1, np.int64)
    for p in range(points):
        winner = winners[p]
        own = 0  # a group of the winner's closes the lead by 2, any other but the rival's by 1
        for g in range(groups):
            if votes[p, g] == winner:
                own += 1
                pairs[own] = costs[p, g]
        pairs[0] = 0
        pairs[1 : own + 1] = np.cumsum(np.sort(pairs[1 : own + 1]))
        least = np.int64(1) << 62
        for rival in range(counts.shape[1]):
            if rival == winner:
                continue
            needed = counts[p, winner] - counts[p, rival] - (1 if rival < winner else 0) + 1
            others = 0
            for g in range(groups):
                if votes[p, g] != winner and votes[p, g] != rival:
                    others += 1
                    singles[others] = costs[p, g]
            singles[0] = 0
            singles[1 : others + 1] = np.cumsum(np.sort(singles[1 : others + 1]))
            for pair in range(own + 1):
                single = max(needed - 2 * pair, 0)
                if single <= others:
                    least = min(least, pairs[pair] + singles[single])
        found[p] = least - 1
