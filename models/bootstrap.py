"""`python -m models.bootstrap`: what an empty installation needs: bucket, starter checkpoints, a first admin key."""

import argparse
import os
import sys
from pathlib import Path

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.checkpoints import Checkpoint, register
from models.checkpoints.card import CARD_NAME
from models.checkpoints.shipped import read_starter
from models.clients import Client, create_client, issue_key
from models.errors import CheckpointUnavailableError
from models.log import configure_logging
from models.session import make_engine, make_sessions
from models.settings import Settings, get_settings
from models.states import Role
from models.storage import Storage

STARTERS = Path(__file__).resolve().parent.parent / "worker" / "starter"
FIRST_CLIENT = "admin"
ENDPOINT = "remote-prompts"
"""The starter that needs an address among the settings."""

log = structlog.get_logger()


def bootstrap(settings: Settings, key_file: Path | None) -> None:
    """Make everything that is missing; running it again changes nothing."""
    Storage(settings).ensure_bucket()
    engine = make_engine(settings, application="bootstrap")
    try:
        with make_sessions(engine).begin() as session:
            for card in sorted(STARTERS.glob(f"*/{CARD_NAME}")):
                if card.parent.name == ENDPOINT and settings.expand_prompt_url is None:
                    session.execute(update(Checkpoint).where(Checkpoint.name == ENDPOINT).values(enabled=False))
                else:
                    _register_starter(session, card.parent)
            if key_file is not None and not key_file.exists():
                _write_key(session, settings, key_file)
    finally:
        engine.dispose()


def _register_starter(session: Session, folder: Path) -> None:
    """Register it; without the package that brings its weights there is one checkpoint less, and all else works."""
    try:
        register(session, read_starter(folder))
    except CheckpointUnavailableError as error:
        log.warning("left a starter out", starter=folder.name, reason=error.detail)


def _write_key(session: Session, settings: Settings, key_file: Path) -> None:
    client = session.scalars(select(Client).where(Client.name == FIRST_CLIENT)).one_or_none()
    if client is None:
        client = create_client(session, FIRST_CLIENT, max_live_jobs=settings.max_live_jobs)
    issued = issue_key(session, client, Role.ADMIN, name="first key")
    key_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(issued.text + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--key-file", type=Path, help="write an admin key here unless the file exists")
    arguments = parser.parse_args()
    configure_logging(get_settings(), process="bootstrap")
    bootstrap(get_settings(), arguments.key_file)
    sys.exit(0)
