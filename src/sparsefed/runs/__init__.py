"""Runs from first round to result: simulating, recording, resuming, tables of runs, runs in parallel."""
