"""The job: its row, its attempts, and one verb per transition. DESIGN calls the verbs T1 to T9.

    submit  T1   API       → queued, waiting      publish  T4  courier  running → succeeded
    claim   T2   worker    queued → running       fail     T5  worker   running → failed | queued
    extend  T3   worker    the heartbeat          release      worker   running → queued (drain), canceled
    cancel  T7   API       → canceled             reap     T6  sweeper  running → queued | failed
    say_made     courier   running, and harmless  expire       sweeper  queued → expired
    announce     all       waiting → queued | failed | canceled, in the transaction that ends what was needed

Each verb takes a session inside a transaction that its caller commits, and is one guarded UPDATE: no row back means
that somebody else moved the job. Postgres' `now()` is the only clock.
"""

from models.jobs.cancel import cancel, cancel_chain
from models.jobs.claim import ClaimedJob, claim, work_waits
from models.jobs.delete import delete_final
from models.jobs.fail import Failure, fail
from models.jobs.guard import Hold
from models.jobs.heartbeat import Beat, extend
from models.jobs.made import say_made
from models.jobs.needs import needs_of, pools_woken
from models.jobs.prepare import CheckpointCard, Submission, batch_key, parse_task, request_digest
from models.jobs.publish import Output, Published, publish
from models.jobs.release import release_canceled, release_drained
from models.jobs.rows import Attempt, FairClock, Job, JobNeed
from models.jobs.submit import Submitted, find_earlier, submit, submit_chain
from models.jobs.sweep import delete_expired_results, expire_overdue, forget_idempotency_keys, reap_lost

__all__ = [
    "Attempt",
    "Beat",
    "CheckpointCard",
    "ClaimedJob",
    "Failure",
    "FairClock",
    "Hold",
    "Job",
    "JobNeed",
    "Output",
    "Published",
    "Submission",
    "Submitted",
    "batch_key",
    "cancel",
    "cancel_chain",
    "claim",
    "delete_expired_results",
    "delete_final",
    "expire_overdue",
    "extend",
    "fail",
    "find_earlier",
    "forget_idempotency_keys",
    "needs_of",
    "parse_task",
    "pools_woken",
    "publish",
    "reap_lost",
    "release_canceled",
    "release_drained",
    "request_digest",
    "say_made",
    "submit",
    "submit_chain",
    "work_waits",
]
