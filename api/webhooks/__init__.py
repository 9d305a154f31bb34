"""Webhooks: a client's endpoints, their secrets, and what was sent there."""
