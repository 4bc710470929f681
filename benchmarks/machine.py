"""Where and with what a number was measured."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

__all__ = ["machine"]

PACKAGES = ["torch", "numpy", "numba", "scipy", "byzfl", "flwr", "pfl"]


def machine() -> dict[str, Any]:
    """Date, commit, processor, cores, threads, memory, versions and the load from others just now."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit, marked where anything but earlier results has been changed since."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/", ":(top,exclude)benchmarks/results")
    return f"{commit}-dirty" if commit and changed else commit or None


def _git(*words: str) -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return ""
    return done.stdout.strip()


def _processor() -> str:
    """The model's name and, because virtual machines often hide it, its widest vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    wide = next((flag for flag in ("avx512f", "avx2", "asimd") if flag in facts.get("flags", "")), "")
    return f"{facts.get('model name', platform.machine())} {wide}".strip()
