"""A crew on services of its own (`own_services`), for tests that hurt the services themselves."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from models.checkpoints import scan_folder
from models.jobs import CheckpointCard
from models.session import Sessions, make_engine, make_sessions
from models.storage import Storage
from tests.conftest import settings_environment
from tests.faults.own_services import OwnServices
from tests.seeding import Seeder
from tests.worker.conftest import Crew
from tests.worker.slow import write_checkpoint


@dataclass(frozen=True)
class OwnCrew:
    """What the fixtures of the same names give on the session's services."""

    services: OwnServices
    crew: Crew
    seed: Seeder
    sessions: Sessions
    storage: Storage
    checkpoint: CheckpointCard
    engine: Engine

    def restart_postgres(self) -> None:
        """Its immediate shutdown, which cuts every connection, the test's own too; then the recovery."""
        self.services.postgres.stop(signal.SIGQUIT)
        self.services.postgres.start()
        self.engine.dispose()


@contextlib.contextmanager
def own_crew(services: OwnServices, folder: Path) -> Iterator[OwnCrew]:
    """Its processes end with the block. The files of the slow checkpoint go into `folder`."""
    settings = services.settings
    engine = make_engine(settings, application="test")
    sessions = make_sessions(engine)
    seed = Seeder(sessions, settings)
    crew = Crew(settings, settings_environment(settings), sessions)
    files = write_checkpoint(folder / "slow")
    try:
        checkpoint = seed.checkpoint("slow", family="slow", location=str(files), manifest=scan_folder(files))
        yield OwnCrew(services, crew, seed, sessions, Storage(settings), checkpoint, engine)
    finally:
        crew.end()
        engine.dispose()
