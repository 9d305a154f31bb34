"""What every command that talks to the API shares: how to reach it, and what becomes of an error.

Exit codes: 0 done; 1 the job failed or the API refused; 2 wrong usage; 3 the API cannot be reached; 130 Ctrl-C.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from safelight.cli import output

if TYPE_CHECKING:
    from safelight.client import Client, SafelightClientError

UNREACHABLE = output.NOT_RUNNING
P = ParamSpec("P")

_PANEL = "Connection and output"
_Url = Annotated[
    str | None,
    typer.Option("--url", help="Address of the API. Else SAFELIGHT_URL, else the home's.", rich_help_panel=_PANEL),
]
_Key = Annotated[
    str | None,
    typer.Option("--key", help="API key. Else SAFELIGHT_KEY, else the home's.", rich_help_panel=_PANEL),
]
_Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The installation to talk to. Else SAFELIGHT_HOME, else .safelight.",
        file_okay=False,
        rich_help_panel=_PANEL,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.", rich_help_panel=_PANEL)]
_SHARED: dict[str, tuple[Any, Any]] = {
    "url": (_Url, None),
    "key": (_Key, None),
    "home": (_Home, None),
    "as_json": (_Json, False),
}


@dataclass(frozen=True, slots=True)
class Remote:
    """The shared options of one call."""

    url: str | None
    key: str | None = field(repr=False)
    home: Path | None
    as_json: bool

    def connect(self) -> "Client":
        """A client; use it as a context manager."""
        from safelight.client import Client, RetryPolicy

        # A person waits: two seconds of trying rather than eight.
        return Client(self.url, self.key, home=self.home, retry=RetryPolicy(attempts=4, total_seconds=30))


def talks_to_api(function: Callable[Concatenate[Remote, P], None]) -> Callable[..., None]:
    """Give a command the shared options, as its first parameter, and turn its errors into lines and exit codes."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _SHARED.items()
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        from safelight.client import SafelightClientError

        remote = Remote(**{name: given.pop(name) for name in _SHARED})
        try:
            function(remote, **given)  # type: ignore[call-arg]  # Typer gives exactly the parameters of `own`
        except SafelightClientError as error:
            raise typer.Exit(report(error, as_json=remote.as_json)) from error

    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # read by Typer
    return command


def report(error: "SafelightClientError", *, as_json: bool) -> int:
    """Say what went wrong and what to do about it; the exit code."""
    from safelight.client import ApiError, ApiUnreachableError, NotConfiguredError

    fields = error.fields if isinstance(error, ApiError) else ()
    remedy = remedy_for(error)
    if as_json:
        output.print_json({"error": str(error), "remedy": remedy, **_details(error)})
    elif fields:
        output.print_error(f"{getattr(error, 'title', '') or 'the request does not fit'}", "")
        for entry in fields:
            typer.echo(f"  {entry.pointer or '/'}: {entry.message}", err=True)
        if remedy:
            typer.echo(f"  try: {remedy}", err=True)
    else:
        output.print_error(str(error), remedy)
    return UNREACHABLE if isinstance(error, ApiUnreachableError | NotConfiguredError) else output.FAILED


def remedy_for(error: "SafelightClientError") -> str:
    """What a person can do about it; empty where the message says it already."""
    from safelight import client

    remedies: tuple[tuple[type[Exception], str], ...] = (
        (client.ApiUnreachableError, "safelight status; safelight up starts it"),
        (client.AuthenticationError, "give a valid key: --key or SAFELIGHT_KEY"),
        (
            client.PermissionDeniedError,
            "use a key of a higher role (admin for keys and checkpoints): safelight keys create CLIENT --role admin",
        ),
        (client.NotFoundError, "safelight ls and safelight checkpoints ls show what there is"),
        (client.ServerError, "again in a moment; safelight status and the API's log say more"),
        (client.ProtocolError, "see that --url is the address of a Safelight API"),
        (client.CorruptDownloadError, "again; when it stays so, the object storage is damaged"),
    )
    if isinstance(error, client.RateLimitedError) and error.retry_after_seconds:
        return f"again in {output.duration(error.retry_after_seconds)}"
    if isinstance(error, client.InvalidRequestError) and error.fields:
        return "safelight tasks and safelight checkpoints ls show what is allowed"
    return next((text for kind, text in remedies if isinstance(error, kind)), "")


def _details(error: "SafelightClientError") -> Mapping[str, Any]:
    from safelight.client import ApiError

    if not isinstance(error, ApiError):
        return {}
    return {
        "status": error.status,
        "code": error.code,
        "request_id": error.request_id,
        "errors": [{"pointer": e.pointer, "code": e.code, "message": e.message} for e in error.fields],
    }
