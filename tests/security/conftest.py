"""The application and its callers, as the tests of the API have them."""

from tests.api.conftest import (
    api,
    app,
    app_settings,
    caller,
    callers,
    checkpoint,
    favoured,
    picture,
    stranger,
)

__all__ = ["api", "app", "app_settings", "caller", "callers", "checkpoint", "favoured", "picture", "stranger"]
