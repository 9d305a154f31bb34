"""API keys and whose they are."""
