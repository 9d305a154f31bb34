"""``safelight webhooks``: where the API tells of jobs, the secrets that sign it, and what was sent."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.finding import SHORTEST_PART, WHOLE_ID
from safelight.cli.remote import Remote, talks_to_api

if TYPE_CHECKING:
    from safelight.client import Client

LISTED_DELIVERIES = 20

app = typer.Typer(
    name="webhooks",
    no_args_is_help=True,
    add_completion=False,
    help="Webhooks: where you are told of your jobs, signed.",
)

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The id, the beginning or the end of it, or the URL.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", "-e", help="E.g. job.succeeded; several times. How jobs ended when absent."),
]


@app.command("add")
@talks_to_api
def add(
    remote: Remote, target: Annotated[str, typer.Argument(metavar="URL", help="https://…")], event: Events = None
) -> None:
    """Be told of every job.  Standard output holds the secret that checks the signatures, and nothing else."""
    with remote.connect() as client:
        made = client.webhooks.create(target, event or None)
    if remote.as_json:
        output.print_json(made)
        return
    typer.echo(f"Webhook {made.get('id')}: {', '.join(made.get('events') or ())}; signed with", err=True)
    typer.echo(str(made.get("secret")))


@app.command("ls")
@talks_to_api
def ls(remote: Remote) -> None:
    """List webhooks, newest first: also those that jobs have named."""
    from safelight.cli import views

    with remote.connect() as client:
        found = list(client.webhooks.list())
    if remote.as_json:
        output.print_json({"items": found})
        return
    rows = [
        (
            str(hook.get("id")),
            str(hook.get("url")),
            str(hook.get("scope")),
            _state(hook),
            " ".join(str(event).removeprefix("job.") for event in hook.get("events") or ()),
        )
        for hook in found
    ]
    views.print_table(("id", "url", "scope", "state", "events"), rows, empty="No webhooks: safelight webhooks add URL.")


@app.command("set")
@talks_to_api
def change(
    remote: Remote,
    webhook: WebhookId,
    *,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Where it goes.")] = None,
    event: Events = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Switch it.", show_default=False)] = None,
) -> None:
    """Change a webhook; what is not given stays."""
    with remote.connect() as client:
        changed = client.webhooks.change(_find(client, webhook), url=to, events=event or None, enabled=enabled)
    if remote.as_json:
        output.print_json(changed)
    else:
        typer.echo(f"Webhook {changed.get('id')} is {_state(changed)}.")


@app.command("rm")
@talks_to_api
def remove(remote: Remote, webhook: WebhookId) -> None:
    """Delete a webhook, with the log of what was sent."""
    with remote.connect() as client:
        found = _find(client, webhook)
        client.webhooks.delete(found)
    if remote.as_json:
        output.print_json({"id": found, "deleted": True})
    else:
        typer.echo(f"Webhook {found} is deleted.")


@app.command("secret")
@talks_to_api
def secret(remote: Remote, webhook: WebhookId) -> None:
    """Show the secret that checks the signatures."""
    with remote.connect() as client:
        found = client.webhooks.secret(_find(client, webhook))
    if remote.as_json:
        output.print_json(found)
    else:
        typer.echo(str(found.get("secret")))


@app.command("rotate")
@talks_to_api
def rotate(remote: Remote, webhook: WebhookId) -> None:
    """Make a new secret.  The old one signs as well for a while, so that you can change over."""
    from safelight.cli import views

    with remote.connect() as client:
        made = client.webhooks.rotate(_find(client, webhook))
    if remote.as_json:
        output.print_json(made)
        return
    until = views.cell(made.get("previous_secret_expires_at"))
    typer.echo(f"The old secret of webhook {made.get('id')} signs as well until {until}.  The new one:", err=True)
    typer.echo(str(made.get("secret")))


@app.command("deliveries")
@talks_to_api
def deliveries(
    remote: Remote,
    webhook: WebhookId,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = LISTED_DELIVERIES,
) -> None:
    """Show what was sent, newest first, and how the last try went."""
    from safelight.cli import views

    with remote.connect() as client:
        found = list(
            itertools.islice(client.webhooks.deliveries(_find(client, webhook), state=state, limit=limit), limit)
        )
    if remote.as_json:
        output.print_json({"items": found})
        return
    rows = [
        (
            str(entry.get("id")),
            str(entry.get("kind")),
            str(entry.get("job_id") or ""),
            str(entry.get("state")),
            str(entry.get("tries")),
            _last_try(entry),
            views.cell(entry.get("next_try_at")),
        )
        for entry in found
    ]
    views.print_table(("id", "kind", "job", "state", "tries", "last try", "next try"), rows, empty="Nothing was sent.")


@app.command("redeliver")
@talks_to_api
def redeliver(
    remote: Remote,
    webhook: WebhookId,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="The whole id, of `webhooks deliveries`.")],
) -> None:
    """Send something again, under the same webhook-id."""
    with remote.connect() as client:
        sent = client.webhooks.redeliver(_find(client, webhook), delivery)
    _print_sent(remote, sent)


@app.command("test")
@talks_to_api
def test(remote: Remote, webhook: WebhookId) -> None:
    """Send a webhook.test; `webhooks deliveries` shows how it went."""
    with remote.connect() as client:
        sent = client.webhooks.test(_find(client, webhook))
    _print_sent(remote, sent)


def _print_sent(remote: Remote, sent: Mapping[str, Any]) -> None:
    if remote.as_json:
        output.print_json(sent)
    else:
        typer.echo(f"Delivery {sent.get('id')} ({sent.get('kind')}) is on its way.")


def _find(client: "Client", text: str) -> str:
    """The id of the one webhook that this means."""
    wanted = text.strip().lower()
    if WHOLE_ID.fullmatch(wanted):
        return wanted
    hooks = [(str(hook.get("id")), hook.get("url")) for hook in client.webhooks.list()]
    found = [hook_id for hook_id, url in hooks if url == text]
    if not found and len(wanted) >= SHORTEST_PART:
        found = [hook_id for hook_id, _ in hooks if hook_id.startswith(wanted) or hook_id.endswith(wanted)]
    if len(found) == 1:
        return found[0]
    how_many = f"{len(found)} webhooks have" if found else "No webhook has"
    raise typer.BadParameter(f"{how_many} the id or URL {text!r}; safelight webhooks ls shows them.")


def _state(hook: Mapping[str, Any]) -> str:
    if hook.get("enabled"):
        return "failing" if hook.get("failing_since") else "on"
    return f"off ({hook.get('disabled_reason')})"


def _last_try(delivery: Mapping[str, Any]) -> str:
    attempts = delivery.get("attempts") or ()
    if not attempts:
        return ""
    return str(attempts[-1].get("error") or attempts[-1].get("status_code") or "")
