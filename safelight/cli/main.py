"""The ``safelight`` program: its commands, loaded one at a time, and what every one of them does with an error.

Exit codes: 0 done; 1 failed (also: runs already, ``doctor`` found a failure); 2 wrong usage; 3 not running;
4 running, and not everything is ready; 130 interrupted.
"""

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from safelight.cli import output

# Each command's module and attribute: a function, or a Typer with commands of its own.  Help lists them in this order.
COMMANDS = {
    "demo": "safelight.cli.demo:demo",
    "up": "safelight.cli.up:up",
    "down": "safelight.cli.down:down",
    "status": "safelight.cli.status:status",
    "doctor": "safelight.cli.doctor:doctor",
    "submit": "safelight.cli.submit:submit",
    "ls": "safelight.cli.jobs:ls",
    "show": "safelight.cli.jobs:show",
    "watch": "safelight.cli.jobs:watch",
    "cancel": "safelight.cli.jobs:cancel",
    "retry": "safelight.cli.jobs:retry",
    "reproduce": "safelight.cli.jobs:reproduce",
    "rm": "safelight.cli.jobs:rm",
    "upload": "safelight.cli.uploads:upload",
    "download": "safelight.cli.jobs:download",
    "verify": "safelight.cli.jobs:verify",
    "checkpoints": "safelight.cli.checkpoints:app",
    "tasks": "safelight.cli.checkpoints:tasks",
    "keys": "safelight.cli.keys:app",
    "clients": "safelight.cli.clients:app",
    "webhooks": "safelight.cli.webhooks:app",
    "audit": "safelight.cli.clients:audit",
    "gallery": "safelight.cli.gallery.command:gallery",
}


class LazyGroup(TyperGroup):
    """Imports the module of a command when that command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  the base class names it
        """Every name, without importing anything."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  the same
        """The command itself, or None when there is none of that name."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(found)
        return typer.main.get_command(single)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it could not do becomes one clear line, what to do about it, and an exit code."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not hasattr(error, "remedy"):
                raise
            output.print_error(str(error), str(error.remedy), as_json="--json" in sys.argv)
            raise typer.Exit(output.FAILED) from error


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        import safelight

        typer.echo(f"safelight {safelight.__version__}")
        raise typer.Exit


@app.callback()
def safelight(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A self-hosted image generation backend: submit a job, poll, fetch the picture."""
