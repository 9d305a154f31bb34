"""What the test family's pipelines did, in all processes: read from the file that `tests.worker.slow` writes."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.worker.slow import TRACE_VARIABLE


@dataclass(frozen=True)
class Entry:
    """One thing that one process did with one job, and when: `what` is `run` or `step`."""

    what: str
    job_id: UUID
    pid: int
    at: float
    """Seconds since the epoch, by that process's clock."""


@dataclass(frozen=True)
class Trace:
    """The file, and what is in it so far."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the workers that are to be traced."""
        return {TRACE_VARIABLE: str(self.path)}

    def entries(self, job_id: UUID, what: str) -> list[Entry]:
        """In the order in which they happened."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        found = [line.split() for line in lines]
        rows = [Entry(kind, UUID(job), int(pid), float(at)) for kind, job, pid, at in found]
        return [row for row in rows if row.job_id == job_id and row.what == what]

    def runs(self, job_id: UUID) -> list[Entry]:
        """Each time that a pipeline began with this job."""
        return self.entries(job_id, "run")

    def steps(self, job_id: UUID) -> list[Entry]:
        """Each step that was made of it."""
        return self.entries(job_id, "step")
