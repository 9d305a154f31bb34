"""``python -m safelight.standalone.embedded``: only the three services, for a parent that holds our standard input.

Prints one JSON object with the settings by which they are found, once all of them are ready and the bucket exists;
ends them when the input closes, which it does however the parent ends.  The test suite runs on this.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from safelight.standalone import recovery, seaweed, services
from safelight.standalone.errors import StandaloneError
from safelight.standalone.layout import Layout
from safelight.standalone.state import lock
from safelight.standalone.supervisor import Supervisor


async def _serve(layout: Layout, plan: services.ServicePlan) -> None:
    supervisor = Supervisor(layout, plan.specs, plan.environment, on_ready=lambda: _announce(plan))
    loop = asyncio.get_running_loop()

    def closed() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            supervisor.request_stop()

    loop.add_reader(sys.stdin.fileno(), closed)
    await supervisor.run()


def _announce(plan: services.ServicePlan) -> None:
    settings = plan.environment
    s3 = seaweed.client(
        settings["SAFELIGHT_S3_ENDPOINT_URL"],
        settings["SAFELIGHT_S3_ACCESS_KEY_ID"],
        settings["SAFELIGHT_S3_SECRET_ACCESS_KEY"],
    )
    seaweed.ensure_bucket(s3)
    print(json.dumps(dict(settings)), flush=True)  # noqa: T201  the answer that the parent reads


def main() -> int:
    """Run until the input closes."""
    parser = argparse.ArgumentParser(prog="python -m safelight.standalone.embedded", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--unsafe", action="store_true", help="let Postgres lose data when the machine crashes")
    given = parser.parse_args()
    layout = Layout.at(given.home)
    try:
        layout.prepare()
        with lock(layout):
            recovery.clean_up(layout)
            asyncio.run(_serve(layout, services.plan(layout, unsafe=given.unsafe)))
    except StandaloneError as error:
        print(f"{error}\n{error.remedy}", file=sys.stderr)  # noqa: T201  for whoever started us
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
