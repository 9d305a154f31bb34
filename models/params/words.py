"""Texts that clients write: what can be stored, and what is in them at all."""

MAX_TEXT_CHARS = 20_000


def storable(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: Postgres' jsonb holds neither NUL nor lone surrogates.
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("NUL and lone surrogates are not text")
    return text


def written(text: str) -> str:
    """A text that can be stored and is not blank.

    Raises:
        ValueError: it is.
    """
    if not text.strip():
        raise ValueError("the text is blank")
    return storable(text)
