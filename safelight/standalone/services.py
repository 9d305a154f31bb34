"""The three embedded services as one plan: their ports, their process table, and what the application is told."""

from collections.abc import Mapping
from dataclasses import dataclass

from safelight.standalone import ports as port_choice
from safelight.standalone import postgres, seaweed, valkey
from safelight.standalone.layout import Layout, Secrets
from safelight.standalone.spec import ProcessSpec

PORT_NAMES = ("postgres", "valkey", *seaweed.PORT_NAMES)
NAMES = ("postgres", "valkey", "seaweed")


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to start, and where it will be."""

    specs: tuple[ProcessSpec, ...]
    environment: Mapping[str, str]
    ports: Mapping[str, int]


def plan(layout: Layout, *, unsafe: bool = False) -> ServicePlan:
    """Choose free ports (the last run's where possible) and lay out the services.

    ``unsafe`` lets Postgres lose data when the machine crashes, for tests.
    """
    layout.prepare()
    secrets = layout.load_secrets()
    remembered = port_choice.load(layout.ports_file)
    ports = port_choice.assign(PORT_NAMES, remembered)
    port_choice.save(layout.ports_file, remembered | ports)
    specs = (
        postgres.spec(layout, secrets, ports["postgres"], unsafe=unsafe),
        valkey.spec(layout, secrets, ports["valkey"]),
        seaweed.spec(layout, secrets, ports),
    )
    return ServicePlan(specs, environment(secrets, ports), ports)


def environment(secrets: Secrets, ports: Mapping[str, int]) -> dict[str, str]:
    """The settings by which the application finds the services."""
    return {
        "SAFELIGHT_DATABASE_URL": postgres.database_url(secrets, ports["postgres"]),
        "SAFELIGHT_REDIS_URL": valkey.redis_url(secrets, ports["valkey"]),
        "SAFELIGHT_S3_ENDPOINT_URL": seaweed.endpoint_url(ports),
        "SAFELIGHT_S3_REGION": seaweed.REGION,
        "SAFELIGHT_S3_BUCKET": seaweed.BUCKET,
        "SAFELIGHT_S3_ACCESS_KEY_ID": secrets.s3_access_key_id,
        "SAFELIGHT_S3_SECRET_ACCESS_KEY": secrets.s3_secret_access_key,
    }
