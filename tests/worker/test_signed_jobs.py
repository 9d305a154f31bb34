"""Workers that sign: what they publish is stamped and signed, and one that could not sign does not start."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from models.artifacts import Artifact
from models.jobs import CheckpointCard
from models.provenance import DigitalSource, read_provenance
from models.session import Sessions
from models.states import JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.certificates import make_chain
from tests.worker.conftest import WAIT_SECONDS, Crew
from worker.courier.signing import Signer


def given_files(folder: Path, certificate: bytes, private_key: bytes) -> dict[str, str]:
    """The settings of a worker that signs with these."""
    (folder / "signer.pem").write_bytes(certificate)
    (folder / "signer.key").write_bytes(private_key)
    return {
        "SAFELIGHT_C2PA_CERTIFICATE_PATH": str(folder / "signer.pem"),
        "SAFELIGHT_C2PA_PRIVATE_KEY_PATH": str(folder / "signer.key"),
    }


def test_what_a_worker_publishes_is_signed(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage, tmp_path: Path
) -> None:
    """Given a worker with a certificate, when a job succeeds, then its pictures say who made them, and prove it."""
    chain = make_chain()
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "a secret cat", "num_images": 2})
    crew.worker(**given_files(tmp_path, chain.certificate, chain.private_key))
    assert crew.finish(job) == [JobState.SUCCEEDED]

    with sessions() as session:
        bodies = [storage.get(key) for key in session.scalars(select(Artifact.key).where(Artifact.job_id == job))]
    assert len(bodies) == 2
    reader = Signer(chain.certificate, chain.private_key)
    for body in bodies:
        assert reader.state(body, "image/png", chain.root.decode()) == "Trusted"
        told = read_provenance(body)
        assert told is not None
        assert (told.job_id, told.checkpoint, told.source) == (job, "slow", DigitalSource.GENERATED)
        assert told.prompt is None
        assert b"secret" not in body


def test_a_worker_that_cannot_sign_does_not_start(
    crew: Crew, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Given a certificate with another's key, then the worker ends at once and says why."""
    environment = given_files(tmp_path, make_chain().certificate, make_chain().private_key)
    worker = crew.worker(wait=False, **environment)
    try:
        assert worker.wait(WAIT_SECONDS) != 0
    except subprocess.TimeoutExpired:
        pytest.fail("the worker runs, and could not sign")
    assert "not this key's" in capfd.readouterr().err
    assert crew.names() == []
