"""Clients: their share of the workers, and their limits."""
