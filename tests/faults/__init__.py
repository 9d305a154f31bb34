"""Faults on purpose: real processes that are killed, stopped, cut off and lied to, and what must hold afterwards.

`proxy` stands between a process and a service, `points` waits for a process at a failpoint, `trace` says what ran,
`ledger` what Postgres and S3 hold in the end. The soak is `soak`; its parts say so themselves.
"""

import pytest

pytest.register_assert_rewrite("tests.faults.ledger")
