"""`celery -A tests.faults.fleet_app`: the worker's app with the test family, and a device without torch.

A fault run starts hundreds of workers, and reading torch is most of what a start costs. The test family never touches
a tensor, and nothing of the protocol does either.
"""

from types import SimpleNamespace
from typing import Any, cast

import psutil

from models.settings import Settings
from models.states import Pool
from tests.worker import slow  # noqa: F401  # registers the family
from worker import devices
from worker.app import app


def _open_device(_settings: Settings, _pool: Pool = Pool.GPU) -> devices.Device:
    plain = SimpleNamespace(type="cpu")
    return devices.Device(
        cast(Any, plain), cast(Any, SimpleNamespace(itemsize=4)), "cpu", int(psutil.virtual_memory().total)
    )


devices.open_device = _open_device
app.conf.include = [*app.conf.include, "tests.faults.fleet_app"]
