"""The settings: one frozen object, the only reader of the environment (prefix `SAFELIGHT_`).

What an operator may change stands here with its unit and default; constants of one room stay in that room.
"""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting of the product. Names are the environment's: `SAFELIGHT_LEASE_SECONDS=60`."""

    model_config = SettingsConfigDict(env_prefix="SAFELIGHT_", frozen=True, extra="ignore")

    # services
    database_url: str = Field("postgresql+psycopg://localhost/safelight", description="PostgreSQL 18 or newer.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis or Valkey; holds only wake-up tickets.")
    s3_endpoint_url: str | None = Field(None, description="None means AWS.")
    s3_public_endpoint_url: str | None = Field(None, description="Host that clients reach; presigned URLs use it.")
    s3_region: str = "us-east-1"
    s3_bucket: str = Field("safelight", min_length=3)
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None
    home: Path = Field(Path(".safelight"), description="Folder for logs and caches of this machine.")
    ready_file: Path | None = Field(None, description="A worker makes it once Postgres knows that it is alive.")

    # database sessions
    database_pool_size: int = Field(10, ge=1, description="Of one API process; see `models.connections` for others.")
    database_pool_overflow: int = Field(10, ge=0, description="Opened while those are in use, and closed again.")
    statement_timeout_seconds: float = Field(15, gt=0)
    lock_timeout_seconds: float = Field(5, gt=0)
    idle_in_transaction_timeout_seconds: float = Field(30, gt=0)

    # API
    api_host: str = "127.0.0.1"
    api_port: int = Field(8400, ge=0, le=65535)
    api_workers: int = Field(1, ge=1, description="gunicorn processes.")
    api_threads: int = Field(64, ge=4, description="Threads per process; streams may take half of them.")
    max_body_bytes: int = Field(1 << 20, ge=1024, description="Largest JSON body.")
    max_upload_bytes: int = Field(32 << 20, ge=1024)
    max_upload_pixels: int = Field(16_800_000, ge=1, description="Checked from the header, before decoding.")
    max_data_set_bytes: int = Field(256 << 20, ge=1024, description="Of an uploaded zip; four times that unpacked.")
    max_data_set_pictures: int = Field(100_000, ge=1)
    max_data_set_picture_pixels: int = Field(16_800_000, ge=1, description="Larger pictures of a zip are left out.")
    data_set_seconds: float = Field(120, gt=0, description="Of the child process that looks through a zip.")
    max_client_upload_bytes: int = Field(20 << 30, ge=1024, description="All uploads that a client keeps at a time.")
    presign_seconds: int = Field(600, ge=1, le=604_800)
    max_wait_seconds: int = Field(60, ge=0, description="Upper bound of `Prefer: wait=N`.")
    sse_heartbeat_seconds: float = Field(15, gt=0)
    rate_limit: str = Field("6000 per minute", description="Per key, Flask-Limiter's syntax; empty turns it off.")

    failed_keys_per_minute: int = Field(30, ge=0, description="From one address, before it has to wait; 0 = no limit.")
    proxies: int = Field(0, ge=0, description="Reverse proxies in front; as many X-Forwarded-For entries are believed.")
    metrics_public: bool = Field(False, description="/metrics without a key; else it takes a viewer's.")
    upload_memory_mib: int = Field(512, ge=64, description="Of the child process that decodes one upload.")
    upload_seconds: float = Field(20, gt=0, description="The same child's time.")

    # webhooks
    webhook_allow_private: bool = Field(False, description="Let targets be private or local addresses (development).")
    webhook_timeout_seconds: float = Field(15, gt=0, description="Of one try, from the name's look-up to the answer.")
    webhook_retry_seconds: tuple[float, ...] = Field(
        (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Pauses before the second try, the third, …; after the last the delivery has failed.",
    )
    webhook_rotation_hours: float = Field(24, gt=0, description="How long the old secret signs as well.")
    webhook_disable_days: float = Field(5, gt=0, description="A target that fails this long is disabled.")
    webhook_retention_days: int = Field(30, ge=1, description="Of the delivery log.")

    # jobs
    idempotency_hours: int = Field(24, ge=1)
    result_retention_days: int = Field(30, ge=1, description="Results are deleted this long after they were published.")
    max_live_jobs: int = Field(10_000, ge=1, description="Default quota of a new client.")
    max_job_images: int = Field(16, ge=1)
    max_job_megapixel_steps: float = Field(
        4000, gt=0, description="Of one job: width × height × steps × images, in millions."
    )

    # provenance
    c2pa_certificate_path: Path | None = Field(
        None, description="PEM: the signer's certificate, then its issuers without the root. With the key, signs files."
    )
    c2pa_private_key_path: Path | None = Field(None, description="PEM, PKCS#8, of an ES256 (P-256) key.")

    blocked_words: tuple[str, ...] = Field(
        (), description="Prompts with one of these are refused, of every client; `word*` is any word that begins so."
    )

    # the lease protocol
    lease_seconds: float = Field(60, gt=0)
    sweep_seconds: float = Field(10, gt=0, description="The sweeper's period.")
    max_crashes: int = Field(3, ge=1, description="Lost leases of a job that ran alone.")
    max_errors: int = Field(3, ge=1, description="Application errors.")
    infrastructure_budget_seconds: float = Field(3600, gt=0)
    retry_base_seconds: float = Field(2, ge=0)
    retry_max_seconds: float = Field(300, ge=0)
    affinity_seconds: float = Field(5, ge=0, description="How long a head may be passed over for a loaded checkpoint.")
    drain_seconds: float = Field(
        4,
        ge=0,
        description="What a stopping worker may still spend on its batch; what is not made then is queued again.",
    )
    store_budget_seconds: float = Field(
        120,
        ge=0,
        description="How long a worker keeps its pictures while S3 or Postgres is away; then the job is retried.",
    )
    store_grace_seconds: float = Field(
        120,
        gt=0,
        description="A courier that is busy with one job for longer than this beyond that hangs: it is killed.",
    )
    max_batch_images: int = Field(8, ge=1, description="Images in one micro-batch.")
    run_timeout_seconds: float = Field(
        1800, ge=0, description="A batch that runs longer is ended, with its process if it hangs; 0 = never."
    )
    load_timeout_seconds: float = Field(
        3600,
        ge=0,
        description="A checkpoint that loads longer (its download too) ends its jobs and process; 0 = never.",
    )

    # devices
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, mps.")
    cpu_threads: int = Field(1, ge=1, description="Torch threads on a CPU; contending threads are far slower.")
    memory_budget_mib: int = Field(0, ge=0, description="For loaded checkpoints; 0 takes 80 % of what the device has.")
    checkpoint_cache: Path = Field(Path(".safelight/checkpoints"), description="Where S3 and Hub checkpoints land.")
    compile: bool = Field(False, description="torch.compile the denoiser (CUDA).")

    # the checkpoint `remote-prompts`
    expand_prompt_url: str | None = Field(
        None, description="Of an OpenAI-compatible chat API, e.g. `http://127.0.0.1:8080/v1`; prompts go there."
    )
    expand_prompt_key: SecretStr | None = None
    expand_prompt_model: str = Field("default", min_length=1, max_length=200, description="As the endpoint names it.")
    expand_prompt_timeout_seconds: float = Field(60, gt=0, description="Of one text.")

    # tests only
    failpoints: str = Field("", description="Never in production; see `models.failpoints`.")
    failpoint_folder: Path | None = None

    # logs
    log_level: str = "INFO"
    log_format: str = Field("json", pattern="^(json|text)$")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read from the environment once."""
    return Settings()  # type: ignore[call-arg, unused-ignore]  # every field has a default
