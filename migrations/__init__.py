"""Alembic's migrations: forward and back, equal to the metadata of `models` (tests hold that)."""
