"""The mutations: what is taken out of the protocol, and the tests of which at least one must fail then.

Left out, since they change nothing that anybody could see:

- `held` without its state: a CHECK says that a job has a lease owner exactly while it runs, so the owner implies the
  state. Without both it is another matter: `no_owner_nor_state_guard`.
- The claim's UPDATE without its state: its rows were chosen and locked by the same statement, in that state.
- The S3 key without its attempt: what two attempts would then write under one key has one SHA-256, so it is one object.
  (With neither, or without the hash, it is not: `fixed_s3_key`, `s3_key_without_its_hash`.)
- The reap without its state: only running jobs have a lease that can have run out; the same CHECK.
"""

from dataclasses import dataclass

FAULTS = "tests/faults"
ZOMBIES = f"{FAULTS}/test_zombies.py"
LOST_ANSWERS = f"{FAULTS}/test_lost_answers.py"
HALF_OPEN = f"{FAULTS}/test_half_open.py"
CLOCKS = f"{FAULTS}/test_clocks.py"
SWEEPERS = f"{FAULTS}/test_sweepers.py"
STORAGE = f"{FAULTS}/test_storage_trouble.py"
RESTARTS = f"{FAULTS}/test_postgres_restarts.py"
POISON = f"{FAULTS}/test_poison.py::test_a_poison_job_in_a_batch_of_four"
DRAIN = f"{FAULTS}/test_drain.py::test_at_most_one_batch_is_repeated"
DELIVERIES = "tests/models/test_deliveries.py"
PUT = "self.put(prepared.key, prepared.body, prepared.media_type, prepared.sha256)"
CHAINS = "tests/models/test_chains.py"
COURIER = "tests/worker/test_courier.py"
LEASES = f"{CLOCKS}::test_leases_end_neither_early_nor_late"
_NOW = '__import__("datetime").datetime.now(__import__("datetime").UTC)'
_LATER = f'{_NOW} + __import__("datetime").timedelta(seconds=lease_seconds)'


@dataclass(frozen=True)
class Edit:
    """One replacement; `old` must be in the file exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One mutation. `tests` are those meant to catch it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def _mutant(name: str, path: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, (Edit(path, old, new),), tests)


MUTANTS: tuple[Mutant, ...] = (
    # --- the fence ---
    _mutant(
        "no_attempt_guard",
        "models/jobs/guard.py",
        "        Job.attempt == hold.attempt,\n",
        "",
        f"{ZOMBIES}::test_a_worker_is_its_own_zombie",
    ),
    _mutant(
        "no_owner_guard",
        "models/jobs/guard.py",
        "        Job.lease_owner == hold.owner,\n",
        "",
        f"{ZOMBIES}::test_a_zombie_of_a_claim_that_postgres_forgot",
    ),
    _mutant(
        "no_owner_nor_state_guard",
        "models/jobs/guard.py",
        "        Job.lease_owner == hold.owner,\n        Job.state == text(\"'running'\"),\n",
        "",
        f"{ZOMBIES}::test_a_zombie_publishes_while_the_job_waits_again",
    ),
    _mutant(
        "no_attempt_nor_owner_guard",
        "models/jobs/guard.py",
        "        Job.attempt == hold.attempt,\n        Job.lease_owner == hold.owner,\n",
        "",
        f"{ZOMBIES}::test_a_zombie_publishes_while_the_second_attempt_runs",
        f"{ZOMBIES}::test_a_zombie_fails_while_the_second_attempt_runs",
    ),
    _mutant(
        "no_state_guard_at_cancel",
        "models/jobs/cancel.py",
        ".where(Job.id == job_id, Job.state.in_(NOT_STARTED))",
        ".where(Job.id == job_id)",
        "tests/models/test_endings.py::test_canceling_twice_is_harmless_and_a_final_job_stays",
    ),
    _mutant(
        "no_fence_at_the_heartbeat",
        "models/jobs/heartbeat.py",
        "tuple_(Job.id, Job.attempt, Job.lease_owner).in_([(h.job_id, h.attempt, h.owner) for h in holds]),",
        "Job.id.in_([h.job_id for h in holds]),",
        f"{HALF_OPEN}::test_a_late_heartbeat_extends_nothing",
    ),
    _mutant(
        "the_token_stands_still",
        "models/jobs/claim.py",
        "            attempt=Job.attempt + 1,\n",
        "            attempt=Job.attempt + 0,\n",
        "tests/models/test_claim.py::test_an_attempt_is_appended_and_the_token_grows",
    ),
    _mutant(
        "no_read_again",
        "models/jobs/publish.py",
        "return Published.ALREADY if ours else Published.FENCED",
        "return Published.FENCED",
        f"{COURIER}::test_sent_twice_it_is_published_once",
    ),
    # --- the objects ---
    _mutant(
        "fixed_s3_key",
        "models/artifacts.py",
        "{job_id}/a{attempt}/{index}-{sha256}.{suffix}",
        "{job_id}/{index}.{suffix}",
        f"{ZOMBIES}::test_a_zombies_put_overwrites_nothing",
    ),
    _mutant(
        "s3_key_without_its_hash",
        "models/artifacts.py",
        "{job_id}/a{attempt}/{index}-{sha256}.{suffix}",
        "{job_id}/a{attempt}/{index}.{suffix}",
        f"{ZOMBIES}::test_a_zombies_put_overwrites_nothing",
    ),
    _mutant(
        "published_whether_stored_or_not",
        "worker/courier/service.py",
        f"        _until(deadline, dropped, lambda: {PUT})\n",
        f'        with __import__("contextlib").suppress(StorageError):\n            {PUT}\n',
        f"{STORAGE}::test_the_pictures_are_kept_and_the_leases_extended[refusing]",
    ),
    _mutant(
        "put_once",
        "worker/courier/service.py",
        f"        _until(deadline, dropped, lambda: {PUT})\n",
        f"        {PUT}\n",
        f"{STORAGE}::test_the_pictures_are_kept_and_the_leases_extended[refusing]",
    ),
    _mutant(
        "put_by_this_machines_clock",
        "worker/courier/put.py",
        "datetime.now(UTC) + self._ahead)",
        "datetime.now(UTC))",
        f"{COURIER}::test_a_wrong_clock_is_corrected_by_s3s",
    ),
    # --- chains ---
    _mutant(
        "the_waiting_are_not_locked",
        "models/jobs/announce.py",
        "\n        .with_for_update(of=Job, key_share=True)",
        "",
        f"{CHAINS}::test_two_that_are_published_at_once_queue_the_third",
    ),
    _mutant(
        "one_upstream_is_enough",
        "models/jobs/announce.py",
        ", ~missing)",
        ")",
        f"{CHAINS}::test_it_waits_for_all_that_it_needs",
    ),
    _mutant(
        "upstream_not_locked_at_submit",
        "models/jobs/needs.py",
        ".with_for_update(read=True)",
        "",
        f"{CHAINS}::test_a_publish_during_the_submit_is_not_missed",
    ),
    _mutant(
        "failure_ends_there",
        "models/jobs/announce.py",
        'ENDINGS = frozenset({SUCCEEDED, "job.failed", CANCELED, "job.expired"})',
        "ENDINGS = frozenset({SUCCEEDED})",
        f"{CHAINS}::test_it_fails_with_what_it_needs",
    ),
    # --- answers that are lost ---
    _mutant(
        "publish_once",
        "worker/courier/service.py",
        """_until(
                deadline,
                dropped,
                lambda: self._transact(lambda s: publish(s, parcel.hold, outputs, measures, result, trained)),
            )""",
        "self._transact(lambda s: publish(s, parcel.hold, outputs, measures, result, trained))",
        f"{LOST_ANSWERS}::test_of_a_publish[request]",
    ),
    _mutant(
        "fail_once",
        "worker/runner.py",
        "                time.sleep(SETTLE_PAUSE_SECONDS)\n",
        "                break\n",
        f"{LOST_ANSWERS}::test_of_a_fail[request]",
    ),
    _mutant(
        "a_repeated_submit_is_a_new_one",
        "models/jobs/submit.py",
        "        .on_conflict_do_nothing(index_elements=[Job.client_id, Job.idempotency_key])\n",
        "",
        f"{LOST_ANSWERS}::test_of_a_submit[answer]",
    ),
    _mutant(
        "couriers_forget",
        "worker/courier/client.py",
        "                    self._outbox.append(entry.parcel)\n",
        "                    pass\n",
        "tests/worker/test_processes.py::test_a_courier_killed_while_it_stores_publishes_once",
    ),
    # --- the lease ---
    _mutant(
        "no_heartbeat",
        "worker/lease.py",
        "        asked = self._holds.current()\n",
        "        asked = []\n",
        f"{LEASES}[+2h--2h]",
        f"{RESTARTS}::test_a_restart_in_mid_run_costs_nothing",
        f"{STORAGE}::test_the_pictures_are_kept_and_the_leases_extended[refusing]",
    ),
    _mutant(
        "deaf_to_the_heartbeat",
        "worker/lease.py",
        "self._holds.beaten(asked, beat.kept, since)",
        "self._holds.beaten(asked, frozenset(hold.job_id for hold in asked), since)",
        f"{HALF_OPEN}::test_a_worker_hears_that_its_job_was_given_on",
    ),
    _mutant(
        "no_clock_of_its_own",
        "worker/holds.py",
        "if entry.stop is Stop.LOST or self.clock() < entry.good_until:",
        "if entry.stop is not None or entry.good_until:",
        f"{HALF_OPEN}::test_a_worker_lets_go_before_the_job_is_given_on[thawed]",
    ),
    _mutant(
        "late_claims_are_kept",
        "worker/runner.py",
        "if self.holds.clock() - since > self.settings.lease_seconds / 2:",
        "if self.holds.clock() < since:",
        f"{HALF_OPEN}::test_a_claim_that_comes_late_is_given_back",
    ),
    _mutant(
        "drained_jobs_wait_for_their_lease",
        "worker/runner.py",
        "    Stop.DRAINED: release_drained,\n",
        "",
        DRAIN,
    ),
    _mutant(
        "a_drain_waits_for_the_pipeline",
        "worker/process.py",
        "        self.deadline.start()\n",
        "",
        f"{FAULTS}/test_drain.py::test_a_batch_that_comes_to_no_step_is_queued_again_and_fenced_out",
    ),
    # --- clocks ---
    _mutant(
        "local_clock_of_the_sweeper",
        "models/jobs/sweep.py",
        "Job.lease_expires_at < func.now())",
        f"Job.lease_expires_at < {_NOW})",
        f"{LEASES}[-2h-+2h]",
    ),
    _mutant(
        "local_clock_of_the_claim",
        "models/jobs/claim.py",
        "lease_expires_at=func.now() + seconds(lease_seconds),",
        f"lease_expires_at={_LATER},",
        f"{CLOCKS}::test_a_claims_own_lease_goes_by_postgres",
    ),
    _mutant(
        "local_clock_of_the_heartbeat",
        "models/jobs/heartbeat.py",
        "lease_expires_at=func.now() + seconds(lease_seconds)",
        f"lease_expires_at={_LATER}",
        f"{LEASES}[-2h-+2h]",
    ),
    _mutant(
        "holds_by_the_wall_clock",
        "worker/holds.py",
        "clock: Callable[[], float] = time.monotonic,",
        "clock: Callable[[], float] = time.time,",
        f"{CLOCKS}::test_a_clock_that_jumps_costs_a_worker_nothing",
    ),
    # --- the sweeper ---
    _mutant(
        "no_sweeper",
        "worker/sweeper.py",
        '    Duty("reap", duties.reap, needs_steady_postgres=True),\n',
        "",
        f"{SWEEPERS}::test_two_sweepers_reap_the_same_rows_at_once",
    ),
    _mutant(
        "no_grace",
        "worker/sweeper.py",
        'Duty("reap", duties.reap, needs_steady_postgres=True)',
        'Duty("reap", duties.reap)',
        f"{RESTARTS}::test_the_sweeper_waits_a_lease_after_postgres_restarts",
    ),
    _mutant(
        "no_tickets_of_the_sweeper",
        "worker/sweeper.py",
        '    Duty("send_tickets", duties.send_tickets, aside=True),\n',
        "",
        f"{SWEEPERS}::test_a_sweeper_dies_between_its_transaction_and_the_ticket",
    ),
    _mutant(
        "no_isolate",
        "models/jobs/sweep.py",
        '"isolate": True, **NO_LEASE}',
        "**NO_LEASE}",
        POISON,
    ),
    _mutant(
        "crashes_count_in_company",
        "models/jobs/sweep.py",
        "crashes = row.crash_count + (1 if row.alone else 0)",
        "crashes = row.crash_count + 1",
        POISON,
    ),
    _mutant(
        "crashes_count_beside_what_the_worker_held",
        "models/jobs/sweep.py",
        "(Attempt.batch_jobs == 1) & ~company",
        "(Attempt.batch_jobs == 1)",
        "tests/models/test_endings.py::test_a_lost_lease_is_no_crash_of_a_job_whose_worker_held_another",
    ),
    _mutant(
        "crashes_count_while_s3_is_away",
        "models/jobs/sweep.py",
        " & ~is_made()",
        "",
        "tests/models/test_endings.py::test_a_lost_lease_is_no_crash_of_a_job_that_only_waited_to_be_stored",
    ),
    _mutant(
        "busy_workers_claim_suspects",
        "models/jobs/claim.py",
        "allowed = select(head.c.id) if suspects else select(head.c.id).where(~head.c.isolate)",
        "allowed = select(head.c.id)",
        f"{FAULTS}/test_suspects.py::test_a_suspect_that_is_being_stored_is_not_lost_with_the_next_one",
    ),
    _mutant(
        "work_is_claimed_ahead_beside_a_suspect",
        "worker/runner.py",
        "if self._ahead is None and not alone and",
        "if self._ahead is None and",
        "tests/worker/test_runner.py::test_nothing_is_claimed_ahead_beside_a_suspect",
    ),
    _mutant(
        "no_crash_cap",
        "models/jobs/sweep.py",
        "elif crashes >= max_crashes:",
        "elif crashes < 0:",
        POISON,
    ),
    _mutant(
        "sweepers_wait_for_each_other",
        "models/jobs/sweep.py",
        ".with_for_update(of=Job, skip_locked=True, key_share=True)",
        ".with_for_update(of=Job, key_share=True)",
        f"{SWEEPERS}::test_what_one_sweeper_reaps_the_other_passes_over",
    ),
    _mutant(
        "claimers_wait_for_each_other",
        "models/jobs/claim.py",
        '.with_for_update(skip_locked=True)\n        .cte("head")',
        '.with_for_update()\n        .cte("head")',
        "tests/models/test_claim.py::test_a_locked_row_is_skipped_not_waited_for",
    ),
    # --- the ticket ---
    _mutant(
        "a_ticket_must_name_a_job",
        "worker/tasks.py",
        "return process_of(pool, job_id).wake()",
        "return process_of(pool, job_id).wake() if job_id else 0",
        f"{SWEEPERS}::test_a_sweeper_dies_between_its_transaction_and_the_ticket",
    ),
    _mutant(
        "ticket_as_truth",
        "worker/tasks.py",
        "    return process_of(pool, job_id).wake()\n",
        """    from sqlalchemy import text

    process = process_of(pool, job_id)
    with process.runner.sessions() as session:
        waits = session.scalar(text("SELECT id FROM jobs WHERE id::text = :id AND state = 'queued'"), {"id": job_id})
    return process.wake() if waits else 0
""",
        f"{SWEEPERS}::test_a_ticket_that_names_nothing_wakes_a_worker_all_the_same",
    ),
    # --- webhooks, under the same protocol ---
    _mutant(
        "no_tries_guard_at_a_delivery",
        "models/webhooks/delivery.py",
        "        WebhookDelivery.tries == hold.tries,\n",
        "",
        f"{DELIVERIES}::test_a_dispatcher_is_its_own_zombie",
    ),
    _mutant(
        "no_owner_guard_at_a_delivery",
        "models/webhooks/delivery.py",
        "        WebhookDelivery.lease_owner == hold.owner,\n",
        "",
        f"{DELIVERIES}::test_a_zombie_does_not_end_what_was_redelivered_meanwhile",
    ),
    _mutant(
        "dispatchers_wait_for_each_other",
        "models/webhooks/claim.py",
        ".with_for_update(of=WebhookEndpoint, skip_locked=True, key_share=True)",
        ".with_for_update(of=WebhookEndpoint, key_share=True)",
        f"{DELIVERIES}::test_a_claim_that_is_not_committed_is_passed_by_and_the_cap_holds",
    ),
    # --- what is written with a transition ---
    _mutant(
        "no_outbox",
        "models/jobs/announce.py",
        "        enqueue(session, jobs, kind)\n",
        "        pass\n",
        "tests/models/test_webhooks.py::test_each_ending_of_a_running_job_is_told_once",
    ),
    _mutant(
        "no_event",
        "models/jobs/announce.py",
        "    record(session, jobs, kind, data)\n",
        "",
        f"{LOST_ANSWERS}::test_of_a_publish[answer]",
    ),
    _mutant(
        "quota_is_kept",
        "models/jobs/publish.py",
        "    give_back_quota(session, row.client_id)\n",
        "",
        f"{LOST_ANSWERS}::test_of_a_publish[answer]",
    ),
)
