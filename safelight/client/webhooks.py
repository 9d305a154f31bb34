"""The webhooks of a client: `client.webhooks.create(...)`.  What arrives there is checked with `standardwebhooks`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from safelight.client.transport import Request, Transport

PAGE_SIZE = 200

Json = dict[str, Any]


class Webhooks:
    """Where the API tells of jobs, and what it sent there.  Every answer is the API's JSON."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, events: Sequence[str] | None = None) -> Json:
        """Be told of every job.  `secret` checks the signatures.  Without `events`: of how each job ended.

        Raises:
            ConflictError: there is one for this URL, or there are too many.
        """
        body = {"url": url, **({"events": [*events]} if events is not None else {})}
        return self._object(Request("POST", "/webhooks", json=body, repeatable=False))

    def list(self) -> Iterator[Json]:
        """The webhooks, newest first: also those that jobs have named.  Pages are fetched as they are needed."""
        return self._pages("/webhooks", {}, None)

    def get(self, webhook_id: str) -> Json:
        """One of them."""
        return self._object(Request("GET", _path(webhook_id)))

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> Json:
        """Change what is given, and leave the rest."""
        given = {"url": url, "events": [*events] if events is not None else None, "enabled": enabled}
        body = {name: value for name, value in given.items() if value is not None}
        return self._object(Request("PATCH", _path(webhook_id), json=body, repeatable=True))

    def delete(self, webhook_id: str) -> None:
        """Delete it, with the log of what was sent."""
        self._transport.json(Request("DELETE", _path(webhook_id)))

    def secret(self, webhook_id: str) -> Json:
        """`secret`, and for a while after a rotation `previous_secret`."""
        return self._object(Request("GET", f"{_path(webhook_id)}/secret"))

    def rotate(self, webhook_id: str) -> Json:
        """A new secret; the old one signs as well for a while."""
        # Twice would end the old secret at once, which the caller's receiver may still need.
        return self._object(Request("POST", f"{_path(webhook_id)}/rotate", repeatable=False))

    def deliveries(self, webhook_id: str, *, state: str | None = None, limit: int | None = None) -> Iterator[Json]:
        """What was sent, newest first, with every try: of one `state` (pending, delivered, failed), or of any."""
        return self._pages(f"{_path(webhook_id)}/deliveries", {"state": state}, limit)

    def redeliver(self, webhook_id: str, delivery_id: str) -> Json:
        """Send a delivery again, under the same `webhook-id`."""
        path = f"{_path(webhook_id)}/deliveries/{quote(delivery_id, safe='')}/redeliver"
        return self._object(Request("POST", path, repeatable=False))

    def test(self, webhook_id: str) -> Json:
        """Send a `webhook.test`; `deliveries` shows how it went."""
        return self._object(Request("POST", f"{_path(webhook_id)}/test", repeatable=False))

    def _object(self, request: Request) -> Json:
        found = self._transport.json(request)
        return found if isinstance(found, dict) else {"value": found}

    def _pages(self, path: str, query: Mapping[str, Any], limit: int | None) -> Iterator[Json]:
        cursor, left = None, limit
        while left is None or left > 0:
            size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            page = self._object(Request("GET", path, query={**query, "limit": size, "cursor": cursor}))
            items = page.get("items") or []
            yield from items
            left = left - len(items) if left is not None else None
            cursor = page.get("cursor")
            if not items or not cursor:
                return


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"
