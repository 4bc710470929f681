"""What the project costs, measured: `python -m benchmarks [name…]`."""
