"""``safelight doctor``: is everything as it should be, and what to do where it is not."""

from dataclasses import asdict

import typer

from safelight.cli import output

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(*, home: output.Home = output.DEFAULT_HOME, as_json: output.Json = False) -> None:
    """Check this machine, and everything that runs; say what to do about each finding.

    Exits with 1 when a check failed; warnings do not count.
    """
    from safelight.standalone import doctor as checks
    from safelight.standalone.layout import Layout

    found = checks.examine(Layout.at(home))
    healthy = checks.healthy(found)
    if as_json:
        output.print_json({"healthy": healthy, "checks": [asdict(check) for check in found]})
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            typer.secho(f"{check.level:<5}", fg=COLOURS[check.level], nl=False)
            typer.echo(f" {check.name:<{width}} {check.detail}")
            if check.remedy:
                typer.echo(f"{'':<{width + 7}}→ {check.remedy}")
    if not healthy:
        raise typer.Exit(output.FAILED)
