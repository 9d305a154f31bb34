"""Where the API is and with which key: from arguments, else the environment, else the installation on this machine."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from safelight.client.errors import LocalFileError, NotConfiguredError
from safelight.standalone.layout import DEFAULT_HOME, Layout

URL_VARIABLE, KEY_VARIABLE, HOME_VARIABLE = "SAFELIGHT_URL", "SAFELIGHT_KEY", "SAFELIGHT_HOME"


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an API, without a slash at its end, and the key to show there."""

    url: str
    key: str | None = field(repr=False)


def find_target(url: str | None = None, key: str | None = None, home: Path | None = None) -> Target:
    """Each of the two from its nearest source: the argument, the given home, the environment, the home in use.

    The key of an installation is only ever shown to that installation.

    Raises:
        NotConfiguredError: there is no address, or it is not one.
        LocalFileError: the key file is there and cannot be read.
    """
    layout = Layout.at(home or Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME))
    local_url = _running_url(layout)
    if url is None and home is not None:
        url = local_url or _not_running(layout)
    found = _clean(url or os.environ.get(URL_VARIABLE) or local_url or _not_running(layout))
    is_local = local_url is not None and found == _clean(local_url)
    if key is None and home is not None and is_local:
        key = _stored_key(layout)
    key = key or os.environ.get(KEY_VARIABLE) or (_stored_key(layout) if is_local else None)
    return Target(found, key.strip() if key else None)


def _running_url(layout: Layout) -> str | None:
    """What the supervisor last wrote, whether or not it still runs: an API that is restarting keeps its address."""
    try:
        stored = json.loads(layout.state_file.read_text())
        return str(stored["url"]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _not_running(layout: Layout) -> str:
    raise NotConfiguredError(
        f"There is no running Safelight in {layout.home}. Start one with `safelight up`, or name one: "
        f"--url or {URL_VARIABLE}."
    )


def _stored_key(layout: Layout) -> str | None:
    try:
        return layout.key_file.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalFileError(f"The key file {layout.key_file} cannot be read: {error.strerror}") from error


def _clean(url: str) -> str:
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_fits:
        raise NotConfiguredError(f"{url!r} is not the address of an API; it looks like http://127.0.0.1:8400")
    return url.rstrip("/").removesuffix("/v1")
