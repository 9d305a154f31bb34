"""POST, GET, list, wait, cancel, retry, clone, delete; what a job made is in `results`."""

import contextlib
from http import HTTPStatus
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from api.auth import Access, audited, principal, visible_client
from api.jobs.access import changeable_job, visible_job
from api.jobs.preparing import NamedWebhook, Origin
from api.jobs.results import add_result_routes, check_result
from api.jobs.schemas import (
    CancelQuery,
    CloneRequest,
    JobBody,
    JobDetail,
    JobPage,
    JobPath,
    JobRequest,
    JobView,
    ListQuery,
    PriceView,
    RepeatHeaders,
    SubmitHeaders,
    SubmitQuery,
    WaitHeaders,
    WaitQuery,
)
from api.jobs.submitting import place, place_again, price, repeat_body
from api.jobs.views import checkpoint_ref, job_detail, job_view
from api.reading import read_json
from api.room import Answer, Room, either
from api.services import Services, get_services
from api.waiting import wait_until_final, wanted_seconds
from models.errors import ConflictError, NotFoundError, StorageError
from models.jobs import cancel, cancel_chain, delete_final, request_digest
from models.jobs.queries import JobFilter, list_jobs
from models.states import CANCELABLE_STATES, FINAL_STATES, RETRYABLE_STATES, JobState

room = Room("jobs", "Submit, follow and change jobs.")


@room.endpoint(
    "post",
    "/jobs",
    access=Access.WRITE,
    answers={202: JobView, 200: either("The job is final, or what it would cost.", JobView, PriceView)},
    problems=(429,),
)
def submit_job(body: JobRequest, query: SubmitQuery, header: SubmitHeaders) -> Answer:
    """Submit a job.

    Answers 202 at once with the job's place in the queue, or with `Prefer: wait=N` as soon as it is final (200).
    With `dry_run=true` it answers what the job would cost, and makes none.
    """
    services = get_services()
    if query.dry_run == "true":
        return Answer(price(services, body.root))
    origin = Origin(principal().client_id, *_idempotency(header.idempotency_key, {}))
    return _placed(services, body.root, origin, header.prefer)


@room.endpoint("get", "/jobs", access=Access.READ, answers={200: JobPage})
def list_jobs_(query: ListQuery) -> Answer:
    """List jobs, newest first."""
    services = get_services()
    with services.reader() as session:
        wanted = JobFilter(
            client_id=visible_client(),
            states=frozenset(query.state or ()),
            task=query.task,
            checkpoint=query.checkpoint,
            tag=query.tag,
            created_after=query.created_after,
            created_before=query.created_before,
        )
        page = list_jobs(session, wanted, limit=query.limit, cursor=query.cursor)
    running = [job.id for job in page.jobs if job.state is JobState.RUNNING]
    board = services.board.get(running)
    items = [
        job_view(job, checkpoint_ref(job.checkpoint), artifacts=job.artifacts, progress=board.get(job.id))
        for job in page.jobs
    ]
    return Answer(JobPage.model_construct(items=items, cursor=page.cursor))


@room.endpoint("get", "/jobs/<uuid:job_id>", access=Access.READ, answers={200: JobDetail})
def get_job(path: JobPath, query: WaitQuery, header: WaitHeaders) -> Answer:
    """Read a job, at once or when it is final."""
    services = get_services()
    seconds = wanted_seconds(header.prefer, query.wait, services.settings.max_wait_seconds)
    headers = {}
    if seconds > 0:
        with services.reader() as session:
            waits = visible_job(session, path.job_id).state not in FINAL_STATES
        if not waits or wait_until_final(services, path.job_id, seconds):
            headers = {"Preference-Applied": f"wait={seconds}"}
    with services.reader() as session:
        job = visible_job(session, path.job_id, whole=True)
        return Answer(job_detail(services, session, job), headers=headers)


@room.endpoint("post", "/jobs/<uuid:job_id>/cancel", access=Access.WRITE, answers={200: JobDetail}, problems=(409,))
def cancel_job(path: JobPath, query: CancelQuery) -> Answer:
    """Cancel a job: one that has not started ends now, a running one at its next step.

    Jobs that wait for its output end with it. With `chain=true` so does the rest of its chain.
    """
    services = get_services()
    with services.sessions.begin() as session:
        job = changeable_job(session, path.job_id)
        ended = cancel_chain(session, job.chain_id) if query.chain == "true" and job.chain_id else 0
        if not ended and (job.state not in CANCELABLE_STATES or not cancel(session, job.id)):
            raise ConflictError(f"The job is {job.state.value}; it ended already.", state=job.state.value)
        audited(session, job.client_id, "job.cancel", job.id)
    with services.reader() as session:
        return Answer(job_detail(services, session, visible_job(session, path.job_id, whole=True)))


@room.endpoint(
    "post", "/jobs/<uuid:job_id>/retry", access=Access.WRITE, answers={202: JobView}, problems=(409, 422, 429)
)
def retry_job(path: JobPath, header: RepeatHeaders) -> Answer:
    """Submit a job that ended without a result once more, with the same params, as a new job."""
    services = get_services()
    with services.reader() as session:
        job = changeable_job(session, path.job_id, whole=True)
        if job.state not in RETRYABLE_STATES:
            raise ConflictError(f"The job is {job.state.value}; clone it instead.", state=job.state.value)
    key, digest = _idempotency(header.idempotency_key, {"retry": str(job.id)})
    origin = Origin(job.client_id, key, digest, job.id, webhook=NamedWebhook.of(job))
    return _placed(services, repeat_body(job, CloneRequest()), origin, None)


@room.endpoint(
    "post", "/jobs/<uuid:job_id>/reproduce", access=Access.WRITE, answers={202: JobView}, problems=(409, 410, 422, 429)
)
def reproduce_job(path: JobPath, header: RepeatHeaders) -> Answer:
    """Run a job that succeeded once more, on the same weights with the same seed, and compare.

    The new job's `result.reproduction` says of each picture whether its pixels are identical, or else how alike the two
    are (SSIM).
    """
    services = get_services()
    with services.reader() as session:
        job = changeable_job(session, path.job_id, whole=True)
    check_result(job)
    key, digest = _idempotency(header.idempotency_key, {"reproduce": str(job.id)})
    origin = Origin(job.client_id, key, digest, job.id, reproduces=True)
    submitted, view = place_again(services, job, origin)
    headers = {"Location": view.urls.self} | ({"Idempotency-Replayed": "true"} if submitted.replayed else {})
    return Answer(view, HTTPStatus.ACCEPTED, headers, frozenset({"attempts"}))


@room.endpoint("post", "/jobs/<uuid:job_id>/clone", access=Access.WRITE, answers={202: JobView}, problems=(422, 429))
def clone_job(path: JobPath, body: CloneRequest, header: RepeatHeaders) -> Answer:
    """Submit a job like this one, with changes, as a new job of yours."""
    services = get_services()
    with services.reader() as session:
        job = visible_job(session, path.job_id, whole=True)
    key, digest = _idempotency(header.idempotency_key, {"clone": str(job.id)})
    client_id = principal().client_id
    # Another client's endpoint is not ours to name.
    copied = None if "webhook" in body.model_fields_set or job.client_id != client_id else NamedWebhook.of(job)
    return _placed(services, repeat_body(job, body), Origin(client_id, key, digest, job.id, webhook=copied), None)


@room.endpoint("delete", "/jobs/<uuid:job_id>", access=Access.WRITE, answers={204: None}, problems=(409,))
def delete_job(path: JobPath) -> Answer:
    """Delete a job that has ended, and what it made."""
    services = get_services()
    with services.sessions.begin() as session:
        job = changeable_job(session, path.job_id)
        keys = delete_final(session, job.id)
        if keys is None:
            raise ConflictError(f"The job is {job.state.value}; cancel it first.", state=job.state.value)
        audited(session, job.client_id, "job.delete", job.id)
    # What cannot be deleted now has no row any more: the sweeper collects it.
    with contextlib.suppress(StorageError):
        services.storage.delete(keys)
    return Answer(None, HTTPStatus.NO_CONTENT)


def _placed(services: Services, body: JobBody, origin: Origin, prefer: str | None) -> Answer:
    submitted, view = place(services, body, origin)
    headers = {"Location": view.urls.self}
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    # The job is taken, whatever happens while it is waited for.
    with contextlib.suppress(SQLAlchemyError, NotFoundError):
        view = _waited_for(services, submitted.job_id, view, prefer, headers)
    final = "Preference-Applied" in headers and view.state in FINAL_STATES
    return Answer(view, HTTPStatus.OK if final else HTTPStatus.ACCEPTED, headers, frozenset({"attempts"}))


def _waited_for(
    services: Services, job_id: UUID, view: JobView, prefer: str | None, headers: dict[str, str]
) -> JobView:
    seconds = wanted_seconds(prefer, None, services.settings.max_wait_seconds)
    if seconds > 0 and (view.state in FINAL_STATES or wait_until_final(services, job_id, seconds)):
        headers["Preference-Applied"] = f"wait={seconds}"
        with services.reader() as session:
            view = job_detail(services, session, visible_job(session, job_id, whole=True))
    return view


def _idempotency(key: str | None, salt: dict[str, str]) -> tuple[str | None, bytes | None]:
    """The key and what it is bound to: the body as it was sent."""
    if key is None:
        return None, None
    _, value = read_json(optional=True)
    return key, request_digest({"body": value, **salt})


add_result_routes(room)
