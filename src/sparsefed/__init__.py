"""Federated learning that cannot be poisoned."""
