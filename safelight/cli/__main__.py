"""``python -m safelight.cli`` is ``safelight``."""

from safelight.cli.main import app

if __name__ == "__main__":
    app()
