"""``safelight up``: start everything, say where it is, and stay until Ctrl-C."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safelight.cli import output

if TYPE_CHECKING:
    from safelight.standalone.launch import Options, Ready
    from safelight.standalone.logs import Line

SERVICES = {"postgres", "valkey", "seaweed"}
COLOURS = {"WARNING": typer.colors.YELLOW, "ERROR": typer.colors.RED, "CRITICAL": typer.colors.RED}


def up(
    *,
    home: output.Home = output.DEFAULT_HOME,
    host: Annotated[str, typer.Option(help="Where the API listens. 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 8400, or a free one.")] = None,
    external: Annotated[
        bool, typer.Option("--external", help="Use the services that SAFELIGHT_DATABASE_URL and the like name.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once ready; safelight down ends it.")] = False,
    gpu_workers: Annotated[int, typer.Option(min=0, help="One for each device.")] = 1,
    cpu_workers: Annotated[int, typer.Option(min=0, help="For work that needs no device.")] = 1,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Only the API, the scheduler and webhooks.")
    ] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every log line, not only warnings.")] = False,
    as_json: output.Json = False,
) -> None:
    """Start Postgres, Valkey, S3, the API and the workers; Ctrl-C ends them all.

    Everything lies in one folder, and nothing but the API listens beyond this machine.
    Exits with 1 when it runs already or cannot start, and says why.
    """
    from safelight.standalone import launch

    if not workers:
        gpu_workers = cpu_workers = 0
    options = launch.Options(home, host, port, external, gpu_workers, cpu_workers)
    if detach:
        _tell(launch.detach(options, _command(options)), as_json=as_json, detached=True)
        return
    if not as_json:
        typer.echo(f"Safelight is starting in {home.expanduser().resolve()}")
    launch.supervise(
        options,
        listener=_listener(verbose=verbose),
        on_ready=lambda ready: _tell(ready, as_json=as_json),
        on_recovered=_tell_recovered,
    )
    if not as_json:
        typer.echo("Safelight has stopped.")


def _command(options: "Options") -> list[str]:
    argv = ["-m", "safelight.cli", "up", "--home", str(options.home), "--host", options.host]
    argv += ["--gpu-workers", str(options.gpu_workers), "--cpu-workers", str(options.cpu_workers)]
    argv += ["--port", str(options.port)] if options.port is not None else []
    return [*argv, "--external"] if options.external else argv


def _tell(ready: "Ready", *, as_json: bool, detached: bool = False) -> None:
    if as_json:
        output.print_json(
            {
                "url": ready.url,
                "docs_url": ready.docs_url,
                "home": ready.home,
                "key_file": ready.key_file,
                "pid": ready.pid,
                "seconds": round(ready.seconds, 2),
            }
        )
        return
    typer.secho(f"Safelight is ready after {ready.seconds:.1f} s", fg=typer.colors.GREEN, bold=True)
    rows = {
        "API": ready.url,
        "docs": ready.docs_url,
        "admin key": _shown(ready.key_file),
        "logs": _shown(ready.home / "logs"),
        "stop": "safelight down" if detached else "Ctrl-C",
    }
    for name, value in rows.items():
        typer.echo(f"  {name:<10} {value}")


def _shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _tell_recovered(ended: list[str]) -> None:
    typer.secho(f"The last run was killed; ended what it left behind: {', '.join(ended)}", fg="yellow", err=True)


def _listener(*, verbose: bool) -> Callable[["Line"], None]:
    def listen(line: "Line") -> None:
        # A database that reports a client's mistake as an error is no trouble of the operator's; a fatal one is.
        quiet = {"CRITICAL"} if line.source in SERVICES else COLOURS.keys()
        if verbose or line.level in quiet:
            typer.secho(str(line), fg=COLOURS.get(line.level), err=True)

    return listen
