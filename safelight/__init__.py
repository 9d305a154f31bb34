"""Safelight: a self-hosted image generation backend.  What a person installs and types lives in this package.

from safelight import Client

with Client() as client:
    job = client.run("text_to_image", prompt="a cat on a blue background")
    client.download(job, "pictures/")
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from safelight.client import Client


def __getattr__(name: str) -> Any:
    # Lazy, so that `safelight --help` does not pay for httpx.
    if name == "Client":
        from safelight.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
