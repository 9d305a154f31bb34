"""Failpoints from the test's side: arm them in a process's environment, wait for it there, let it go on."""

from dataclasses import dataclass
from pathlib import Path

from tests.worker.conftest import until


@dataclass(frozen=True)
class Points:
    """The failpoints of one process (and its children): each has a folder of its own."""

    folder: Path

    def arm(self, **actions: str) -> dict[str, str]:
        """The environment that arms them: `points.arm(before_run="wait")`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return {
            "SAFELIGHT_FAILPOINTS": ",".join(f"{name}={action}" for name, action in actions.items()),
            "SAFELIGHT_FAILPOINT_FOLDER": str(self.folder),
        }

    def reached(self, name: str) -> int:
        """Wait until a process waits there; its pid."""
        (mark,) = until(lambda: list(self.folder.glob(f"{name}.*.reached")), what=f"the failpoint {name}")
        return int(mark.name.split(".")[1])

    def go(self, name: str) -> None:
        """Whoever waits there goes on, and nobody waits there again."""
        (self.folder / f"{name}.go").touch()
