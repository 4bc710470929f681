"""In a process of its own: the setting lasts as long as the process."""

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource
import numpy as np
from sparsefed.core.allocator import keep_large_blocks

def faults(repeats=20):
    for _ in range(repeats):
        block = np.empty(50_000_000, np.uint8)
        block[::4096] = 1
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = [faults(), faults()]
kept = keep_large_blocks()
after = [faults(), faults()]
print(json.dumps([kept, before[1] - before[0], after[1] - after[0]]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_kept_blocks_are_not_faulted_in_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, before, after = json.loads(done.stdout)
    assert kept
    assert after < before / 10
