"""The embedded services under real traffic: they work, they keep strangers out, they keep their data."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from botocore.exceptions import ClientError

from safelight.standalone import ports, seaweed
from safelight.standalone.layout import Layout
from tests.services import Services, running_services
from tests.standalone.conftest import eventually, left_behind


def dsn(services: Services, **changes: str) -> str:
    return psycopg.conninfo.make_conninfo(services.database_url.replace("+psycopg", ""), **changes)


@contextlib.contextmanager
def s3_client(services: Services, secret: str | None = None) -> Iterator[Any]:
    client = seaweed.client(
        services.s3.endpoint_url, services.s3.access_key_id, secret or services.s3.secret_access_key
    )
    try:
        yield client
    finally:
        client.close()


def test_postgres_18_serves_the_application_role(services: Services) -> None:
    with psycopg.connect(dsn(services)) as connection:
        row = connection.execute("SELECT current_user, current_database(), current_setting('jit')").fetchone()
        assert row == ("safelight", "safelight", "off")
        assert connection.info.server_version // 10_000 == 18
        superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert superuser == (False,)


def test_postgres_lets_the_role_clone_databases(services: Services) -> None:
    with psycopg.connect(dsn(services), autocommit=True) as connection:
        connection.execute("CREATE DATABASE pattern")
        connection.execute("CREATE DATABASE clone TEMPLATE pattern")
        connection.execute("DROP DATABASE clone")
        connection.execute("DROP DATABASE pattern")


def test_postgres_refuses_a_wrong_password(services: Services) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn(services, password="wrong"))


def test_postgres_listens_on_loopback_and_nothing_else(services: Services) -> None:
    admin = Layout.at(services.home).load_secrets().postgres_admin
    with psycopg.connect(dsn(services, user="postgres", password=admin)) as connection:
        row = connection.execute(
            "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        ).fetchone()
    assert row == ("127.0.0.1", "")


def test_valkey_takes_traffic_and_never_evicts(services: Services) -> None:
    with redis.Redis.from_url(services.redis_url, decode_responses=True) as client:
        client.set("hello", "world", ex=60)
        assert client.get("hello") == "world"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_valkey_refuses_whoever_has_no_password(services: Services) -> None:
    port = redis.Redis.from_url(services.redis_url).get_connection_kwargs()["port"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_s3_puts_gets_and_lists(services: Services) -> None:
    body = os.urandom(6 << 20)  # more than one chunk
    with s3_client(services) as client:
        client.put_object(Bucket=services.s3.bucket, Key="results/a", Body=body, ContentType="image/png")
        found = client.get_object(Bucket=services.s3.bucket, Key="results/a")
        assert found["Body"].read() == body
        assert found["ContentType"] == "image/png"
        listed = client.list_objects_v2(Bucket=services.s3.bucket, Prefix="results/")
        assert [item["Key"] for item in listed["Contents"]] == ["results/a"]


def test_s3_refuses_a_wrong_signature(services: Services) -> None:
    with s3_client(services, secret="wrong") as stranger, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket=services.s3.bucket, Key="b", Body=b"")


def test_s3_serves_presigned_urls_and_only_with_their_signature(services: Services) -> None:
    with s3_client(services) as client:
        client.put_object(Bucket=services.s3.bucket, Key="c", Body=b"picture")
        url = client.generate_presigned_url("get_object", Params={"Bucket": services.s3.bucket, "Key": "c"})
    with urllib.request.urlopen(url) as answer:  # noqa: S310  its own http address
        assert answer.read() == b"picture"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.partition("?")[0])  # noqa: S310  the same


def test_s3_does_not_invent_buckets(services: Services) -> None:
    with s3_client(services) as client, pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket="misspelt", Key="c", Body=b"")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_inner_doors_of_seaweed_are_closed(services: Services, method: str) -> None:
    with s3_client(services) as client:
        client.put_object(Bucket=services.s3.bucket, Key="inner", Body=b"secret")
    filer = ports.load(Layout.at(services.home).ports_file)["seaweed_filer"]
    url = f"http://127.0.0.1:{filer}/buckets/{services.s3.bucket}/inner"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(url, data=b"x" if method == "PUT" else None, method=method))


def test_every_port_is_on_loopback(services: Services) -> None:
    pids = [int(line.split()[0]) for line in left_behind(services.home)]
    listening = [
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


def test_secrets_are_private(services: Services) -> None:
    layout = Layout.at(services.home)
    private = [layout.secrets_file, layout.run / "valkey.conf", layout.run / "seaweed.options"]
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o600"] * 3
    commands = " ".join(left_behind(services.home))
    secrets = layout.load_secrets()
    assert not [name for name in secrets.__slots__ if getattr(secrets, name) in commands]


def test_a_second_start_keeps_data_ports_and_secrets(home: Path) -> None:
    with running_services(home) as first:
        with psycopg.connect(dsn(first)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(first.redis_url) as client:
            client.set("kept", "42")
        with s3_client(first) as client:
            client.put_object(Bucket=first.s3.bucket, Key="kept", Body=b"42")
    with ports_taken(home, "seaweed_master") as taken, running_services(home) as second:
        assert (second.redis_url, second.database_url) == (first.redis_url, first.database_url)
        assert ports.load(Layout.at(home).ports_file)["seaweed_master"] != taken
        with psycopg.connect(dsn(second)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"42"
        with s3_client(second) as client:
            assert client.get_object(Bucket=second.s3.bucket, Key="kept")["Body"].read() == b"42"
            client.put_object(Bucket=second.s3.bucket, Key="more", Body=b"43")


@contextlib.contextmanager
def ports_taken(home: Path, name: str) -> Iterator[int]:
    """Another program on a remembered port."""
    port = ports.load(Layout.at(home).ports_file)[name]
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_services_end_when_their_test_process_is_killed() -> None:
    code = (
        "import time; from tests.services import running_services\n"
        "with running_services() as services: print(services.home, flush=True); time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        home = Path(process.stdout.readline().strip())
        assert left_behind(home)
        process.send_signal(signal.SIGKILL)
    eventually(lambda: not left_behind(home), "the services are gone")
    shutil.rmtree(home)
