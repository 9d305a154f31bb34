"""The home folder: where data, logs, run state and secrets lie.  Nothing here starts a process.

``data/`` must survive, ``logs/`` may be deleted at any time, ``run/`` may be deleted while nothing runs.
"""

import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safelight.standalone.errors import StandaloneError

DEFAULT_HOME = Path(".safelight")
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
# Another system user (Postgres, when we are root) may pass through, and may list nothing.
PASSABLE_FOLDER = 0o711


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords and keys of the embedded services, generated once for a home folder."""

    postgres_admin: str
    postgres_app: str
    valkey: str
    s3_access_key_id: str
    s3_secret_access_key: str
    seaweed_signing_key: str

    @classmethod
    def generate(cls) -> "Secrets":
        """Fresh random secrets, all of them safe inside a URL."""
        return cls(
            postgres_admin=secrets.token_hex(24),
            postgres_app=secrets.token_hex(24),
            valkey=secrets.token_hex(24),
            s3_access_key_id="SL" + secrets.token_hex(9).upper(),
            s3_secret_access_key=secrets.token_hex(20),
            seaweed_signing_key=secrets.token_hex(32),
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path under one home folder."""

    home: Path

    @classmethod
    def at(cls, home: Path) -> "Layout":
        """The layout of ``home``, as an absolute path: children run in other folders than ours."""
        return cls(home.expanduser().resolve())

    @property
    def postgres(self) -> Path:
        """The Postgres cluster."""
        return self.home / "data" / "postgres"

    @property
    def valkey(self) -> Path:
        """Where Valkey saves its data set when it stops."""
        return self.home / "data" / "valkey"

    @property
    def seaweed(self) -> Path:
        """Volumes, file index and election state of SeaweedFS."""
        return self.home / "data" / "seaweed"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """The lock, the state of the running supervisor and generated configuration files."""
        return self.home / "run"

    @property
    def lock_file(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.run / "lock"

    @property
    def state_file(self) -> Path:
        """What the supervisor last said about its processes."""
        return self.run / "state.json"

    @property
    def ports_file(self) -> Path:
        """The ports of the last run."""
        return self.run / "ports.json"

    @property
    def secrets_file(self) -> Path:
        """The generated secrets, mode 0600."""
        return self.home / "secrets.json"

    @property
    def key_file(self) -> Path:
        """The first admin key, mode 0600."""
        return self.home / "key"

    def prepare(self) -> None:
        """Create the folders.  May be called any number of times."""
        try:
            self._create()
        except OSError as error:
            message = f"the home folder {self.home} cannot be used: {error.strerror}"
            raise StandaloneError(message, remedy="give another --home, or run as the user who owns it") from error

    def _create(self) -> None:
        as_root = os.geteuid() == 0
        there = self.home.exists()
        for folder in (self.home, self.home / "data"):
            folder.mkdir(parents=True, exist_ok=True)
            if folder != self.home or not there:
                folder.chmod(PASSABLE_FOLDER if as_root else PRIVATE_FOLDER)
        if as_root and there:  # perhaps a shared folder: let Postgres pass, and shut nobody out
            self.home.chmod(stat.S_IMODE(self.home.stat().st_mode) | 0o011)
        for folder in (self.valkey, self.seaweed, self.logs, self.run):
            folder.mkdir(exist_ok=True)
            folder.chmod(PRIVATE_FOLDER)
        ignore = self.home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def load_secrets(self) -> Secrets:
        """The secrets of this home folder, generated on the first call."""
        if not self.secrets_file.exists() and not self.postgres.exists():
            write_private(self.secrets_file, json.dumps(asdict(Secrets.generate()), indent=2) + "\n")
        try:
            stored: Mapping[str, str] = json.loads(self.secrets_file.read_text())
            return Secrets(**stored)
        except (OSError, ValueError, TypeError) as error:
            message = f"{self.secrets_file} cannot be read, and the data beside it needs its passwords: {error}"
            raise StandaloneError(message, remedy="restore that file, or start anew with another --home") from error


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
