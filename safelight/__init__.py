"""Safelight: a self-hosted image generation backend.  What a person installs and types lives in this package."""

__version__ = "0.1.0"
