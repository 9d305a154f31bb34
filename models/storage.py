"""Blobs: one bucket of any S3-compatible service, through boto3. Keys are made by `models.artifacts`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from models.errors import NotFoundError, StorageError
from models.s3_clock import S3Clock
from models.settings import Settings

_DELETE_AT_ONCE = 1000
_CHUNK_BYTES = 1 << 20
_PICTURES = frozenset({"image/png", "image/webp", "image/jpeg"})
"""What a browser may show. Not SVG: it can carry script."""
_NOT_FOUND = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True)
class Form:
    """An HTML form's upload into one key (SigV4): post `fields`, and behind them the file as `file`, to `url`."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Blob:
    """One object in a listing."""

    key: str
    size_bytes: int
    modified_at: datetime


class Storage:
    """The bucket. Thread-safe; errors come as `StorageError`."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self.presign_seconds = settings.presign_seconds
        self._clock = S3Clock()
        self._client = _client(settings, settings.s3_endpoint_url, self._clock)
        public = settings.s3_public_endpoint_url
        self._presigner = _client(settings, public, self._clock) if public else self._client

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_FOUND | {"NoSuchBucket"}:
                raise _mapped(error) from error
            self._call("create_bucket", Bucket=self.bucket)
        except BotoCoreError as error:
            raise _mapped(error) from error

    def ping(self) -> None:
        """Ask for the bucket.

        Raises:
            StorageError: S3 does not answer, or there is no such bucket.
        """
        self._call("head_bucket", Bucket=self.bucket)

    def put(self, key: str, body: bytes | IO[bytes], media_type: str) -> None:
        """Store an object, from memory or from an open file. Keys are never used twice: nothing is overwritten."""
        self._call("put_object", Bucket=self.bucket, Key=key, Body=body, ContentType=media_type)

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFoundError: there is none.
        """
        with _reading(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            return bytes(answer["Body"].read())

    def download(self, key: str, path: Path) -> None:
        """Write the object's bytes into a file, a piece at a time: weights do not fit into memory twice.

        Raises:
            NotFoundError: there is none.
        """
        with _reading(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            with path.open("wb") as stream:
                for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                    stream.write(chunk)

    def presigned_get(self, key: str, *, media_type: str, filename: str) -> str:
        """A URL that serves the object for a few minutes, by GET alone, as what we say it is and under our name for it.

        S3 cannot send `nosniff`: a picture is shown, anything else is bytes to be saved, so that no browser runs it.
        """
        is_picture = media_type in _PICTURES
        disposition = "inline" if is_picture else "attachment"
        url: str = self._presigner.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentType": media_type if is_picture else "application/octet-stream",
                "ResponseContentDisposition": f'{disposition}; filename="{filename}"',
                "ResponseCacheControl": "private, no-store",
            },
            ExpiresIn=self.presign_seconds,
        )
        return url

    def presigned_post(self, key: str, *, media_type: str, size_bytes: int) -> Form:
        """What stores an object under this key for a few minutes: of this type, and of exactly so many bytes."""
        # The policy's end is an hour of day, and the local clock may be wrong.
        seconds = self.presign_seconds + round(self._clock.ahead.total_seconds())
        form: dict[str, Any] = self._presigner.generate_presigned_post(
            self.bucket,
            key,
            Fields={"Content-Type": media_type},
            Conditions=[{"Content-Type": media_type}, ["content-length-range", size_bytes, size_bytes]],
            ExpiresIn=seconds,
        )
        return Form(form["url"], form["fields"])

    def facts(self, key: str) -> tuple[int, str]:
        """The object's bytes and media type.

        Raises:
            NotFoundError: there is none.
        """
        with _reading(key):
            answer = self._client.head_object(Bucket=self.bucket, Key=key)
        return int(answer["ContentLength"]), str(answer.get("ContentType", ""))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        pending = list(keys)
        for start in range(0, len(pending), _DELETE_AT_ONCE):
            chunk = [{"Key": key} for key in pending[start : start + _DELETE_AT_ONCE]]
            self._call("delete_objects", Bucket=self.bucket, Delete={"Objects": chunk, "Quiet": True})

    def listing(self, prefix: str) -> Iterator[Blob]:
        """Every object below a prefix."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Blob(entry["Key"], int(entry["Size"]), entry["LastModified"])
        except (BotoCoreError, ClientError) as error:
            raise _mapped(error) from error

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise _mapped(error) from error


@contextmanager
def _reading(key: str) -> Iterator[None]:
    """Errors of a request for one object, as ours."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _NOT_FOUND:
            raise NotFoundError.of("object", key) from error
        raise _mapped(error) from error
    except BotoCoreError as error:
        raise _mapped(error) from error


def _client(settings: Settings, endpoint: str | None, clock: S3Clock) -> Any:
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=3,
            read_timeout=20,
            retries={"max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"} if endpoint else {},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    clock.attach(client)
    return client


def _mapped(error: Exception) -> StorageError:
    """Without addresses, buckets and keys: a job's owner reads this. The log has the cause."""
    code = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else type(error).__name__
    return StorageError(f"S3 did not take the request ({code}).")
