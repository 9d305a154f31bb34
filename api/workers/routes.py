"""GET /v1/workers and /v1/queues, for viewers, operators and admins."""

from api.auth import Access
from api.fleet import live_workers
from api.room import Answer, Room
from api.services import get_services
from api.workers.schemas import QueueDepth, QueueList, WorkerList, WorkerView
from models.jobs.queries import queue_depths
from models.workers import alive

DEPTH_CAP = 10_000

room = Room("workers", "Who works, and how much waits.")


@room.endpoint("get", "/workers", access=Access.VIEW_ALL, answers={200: WorkerList})
def list_workers() -> Answer:
    """List the workers that were heard of within one lease."""
    services = get_services()
    with services.reader() as session:
        rows = alive(session, services.settings.lease_seconds)
    items = [WorkerView.model_validate(row, from_attributes=True) for row in rows]
    return Answer(WorkerList(items=items))


@room.endpoint("get", "/queues", access=Access.VIEW_ALL, answers={200: QueueList})
def list_queues() -> Answer:
    """List how many jobs wait for each pool."""
    services = get_services()
    with services.reader() as session:
        depths = queue_depths(session, DEPTH_CAP)
    workers = live_workers(services)
    items = [
        QueueDepth(pool=pool, depth=depth, capped=depth >= DEPTH_CAP, live_workers=workers.get(pool, 0))
        for pool, depth in depths.items()
    ]
    return Answer(QueueList(items=items))
