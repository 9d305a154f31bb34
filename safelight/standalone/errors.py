"""What can go wrong on this machine, each with what to do about it.  Nothing here prints or exits."""


class StandaloneError(Exception):
    """One clear line about what is wrong, and one about what to do.  The root of every error raised in this package."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class AlreadyRunningError(StandaloneError):
    """Another supervisor holds this home folder."""


class PortTakenError(StandaloneError):
    """A port that a person asked for belongs to another program."""


class MissingBinaryError(StandaloneError):
    """A wheel that should bring a server binary is missing or does not fit this machine."""


class StartFailedError(StandaloneError):
    """A process ended, or did not become ready in time, while Safelight was starting."""
