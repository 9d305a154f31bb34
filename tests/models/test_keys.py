"""API keys: 256 bits, never stored, refused when wrong, expired or revoked."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.clients import Client, authenticate, issue_key, revoke_key
from models.session import Sessions
from models.states import Role
from tests.seeding import Seeder


def test_a_key_opens_as_its_client_and_role(seed: Seeder, sessions: Sessions) -> None:
    client = seed.client("acme")
    key = seed.key(client, Role.OPERATOR)
    with sessions() as session:
        principal = authenticate(session, key)
    assert principal is not None
    assert (principal.client_id, principal.client_name, principal.role) == (client, "acme", Role.OPERATOR)


def test_the_secret_is_nowhere_in_the_database(seed: Seeder, sessions: Sessions) -> None:
    secret = seed.key(seed.client()).split("_", 2)[2]
    assert len(secret) >= 43
    with sessions() as session:
        rows = session.execute(text("SELECT api_keys::text FROM api_keys")).scalars().all()
    assert rows
    assert all(secret not in row for row in rows)


@pytest.mark.parametrize("form", ["{0}A", "", "{0}", "sl_{1}"])
def test_a_wrong_key_opens_nothing(seed: Seeder, sessions: Sessions, form: str) -> None:
    key = seed.key(seed.client())
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    with sessions() as session:
        assert authenticate(session, form.format(other, key)) is None


def test_expired_and_revoked_keys_open_nothing(seed: Seeder, sessions: Sessions) -> None:
    client_id = seed.client()
    with sessions.begin() as session:
        client = session.get_one(Client, client_id)
        past = issue_key(session, client, Role.CLIENT, expires_at=datetime.now(UTC) - timedelta(seconds=5))
        live = issue_key(session, client, Role.CLIENT, expires_at=datetime.now(UTC) + timedelta(hours=1))
    with sessions.begin() as session:
        assert authenticate(session, past.text) is None
        assert authenticate(session, live.text) is not None
        assert revoke_key(session, live.id)
        assert not revoke_key(session, live.id)
        assert authenticate(session, live.text) is None
