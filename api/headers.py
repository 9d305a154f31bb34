"""What every response tells a browser: guess no types, run no script, frame nothing, keep nothing that is private."""

import base64
import hashlib
import re
from functools import lru_cache

from flask import Flask, Response, g

CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers, which are data: nothing may be loaded or run, whatever a browser takes them for."""
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def install_headers(app: Flask) -> None:
    """After every request; a view's own headers win."""
    app.after_request(_harden)


def _harden(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if "Content-Security-Policy" not in headers:
        is_page = response.mimetype == "text/html" and not response.is_streamed
        headers["Content-Security-Policy"] = page_policy(response.get_data(as_text=True)) if is_page else CLOSED
    if "principal" in g:
        headers.setdefault("Cache-Control", "no-store")
    return response


@lru_cache(maxsize=8)
def page_policy(page: str) -> str:
    """For the documentation: our own files, and those inline scripts that we wrote into this very page, by hash."""
    scripts = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(page))
    hashes = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in scripts)
    return (
        f"default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
