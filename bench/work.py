"""What Postgres says of the jobs of a bench, by their tag."""

from sqlalchemy import func, select

from models.jobs import Attempt, Job
from models.session import make_engine, make_sessions
from models.settings import Settings


def time_of(settings: Settings, tag: str) -> tuple[float, int]:
    """Seconds from the first job's start to the last one's publish, and how many the largest batch held."""
    engine = make_engine(settings, application="bench")
    with make_sessions(engine)() as session:
        first, last, largest = session.execute(
            select(func.min(Job.started_at), func.max(Job.finished_at), func.max(Attempt.batch_jobs))
            .join(Attempt, Attempt.job_id == Job.id)
            .where(Job.tag == tag)
        ).one()
    engine.dispose()
    assert first is not None
    assert last is not None
    return float((last - first).total_seconds()), int(largest or 0)
