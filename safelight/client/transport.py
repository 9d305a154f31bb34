"""One request and its retries: httpx in, JSON or an error of ours out.  What the paths mean is not known here."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

import safelight
from safelight.client.errors import ApiError, ApiUnreachableError, ProtocolError, api_error
from safelight.client.retry import REFUSED_STATUSES, RETRYABLE_STATUSES, RetryPolicy, retry_after
from safelight.client.target import Target

CONNECT_SECONDS = 5.0
SAFE_METHODS: frozenset[str] = frozenset({"GET", "HEAD", "DELETE"})
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures after which the server has certainly not seen the request."""
_DIRECT = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""A proxy of the environment never stands between us and this machine."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send.  `repeatable` says that sending it twice does no more than once."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    files: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool | None = None
    read_seconds: float | None = None

    @property
    def may_repeat(self) -> bool:
        """Stated, or by its method, or because the API recognises its Idempotency-Key."""
        if self.repeatable is not None:
            return self.repeatable
        return self.method in SAFE_METHODS or "Idempotency-Key" in self.headers


class Transport:
    """Two httpx clients: one shows the key to the API, the other fetches from storage and has none to show.

    Thread-safe, as httpx's clients are; nothing here changes after construction.
    """

    def __init__(
        self, target: Target, timeout_seconds: float, policy: RetryPolicy, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.target = target
        self.timeout_seconds = timeout_seconds
        self.policy = policy
        self.sleep = sleep
        headers = {"User-Agent": f"safelight-python/{safelight.__version__}", "Accept": "application/json"}
        if target.key:
            headers["Authorization"] = f"Bearer {target.key}"
        trust = httpx.create_ssl_context()
        self._api = httpx.Client(base_url=target.url, headers=headers, verify=trust, mounts=_DIRECT)
        agent = {"User-Agent": headers["User-Agent"]}
        self._storage = httpx.Client(headers=agent, verify=trust, mounts=_DIRECT, timeout=self._timeout(None))

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._storage.close()

    def json(self, request: Request, policy: RetryPolicy | None = None) -> Any:
        """The JSON of the answer; None for an empty one.

        Raises:
            ApiError: the API refused. ApiUnreachableError: no answer. ProtocolError: not our API.
        """
        response = self.send(request, policy)
        if not response.content:
            return None
        return _decode(response)

    def send(self, request: Request, policy: RetryPolicy | None = None) -> httpx.Response:
        """The answer, read whole, its status below 400 (a redirect is an answer too).  Raises as `json` does."""
        policy, began, attempt = policy or self.policy, time.monotonic(), 0
        while True:
            attempt += 1
            pause_asked: float | None = None
            try:
                response = self._api.send(self._build(request))
                if response.status_code < httpx.codes.BAD_REQUEST:
                    return response
                error: ApiError | ApiUnreachableError = problem_of(response)
                pause_asked = retry_after(response.headers.get("Retry-After"))
                again = response.status_code in (RETRYABLE_STATUSES if request.may_repeat else REFUSED_STATUSES)
            except httpx.HTTPError as failure:
                error = self._unreachable(failure)
                again = request.may_repeat or isinstance(failure, NEVER_SENT)
            pause = policy.next_delay(attempt, time.monotonic() - began, pause_asked)
            if not again or pause is None:
                raise error
            self.sleep(pause)

    @contextmanager
    def stream(self, request: Request) -> Iterator[httpx.Response]:
        """An open answer of the API, its status below 400; no retries."""
        with self._mapped():
            response = self._api.send(self._build(request), stream=True)
            try:
                if response.status_code >= httpx.codes.BAD_REQUEST:
                    response.read()
                    raise problem_of(response)
                yield response
            finally:
                response.close()

    @contextmanager
    def stream_storage(self, url: str) -> Iterator[httpx.Response]:
        """An open answer of the object storage; the key is not sent there."""
        host = httpx.URL(url).host
        with self._mapped(f"the object storage at {host}"), self._storage.stream("GET", url) as response:
            yield response

    def post_storage(self, url: str, fields: Mapping[str, str], file: Any) -> None:
        """Post a form that the API signed; the key is not sent there.

        Raises:
            ApiError: the storage refused. ApiUnreachableError: no answer.
        """
        host = httpx.URL(url).host
        with self._mapped(f"the object storage at {host}"):
            response = self._storage.post(url, data=fields, files={"file": file})
        if not response.is_success:
            raise storage_refusal(response)

    @contextmanager
    def _mapped(self, whom: str = "") -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as failure:
            raise self._unreachable(failure, whom) from failure

    def _unreachable(self, failure: Exception, whom: str = "") -> ApiUnreachableError:
        reason = str(failure) or type(failure).__name__
        return ApiUnreachableError(f"No answer from {whom or f'the API at {self.target.url}'}: {reason}")

    def _build(self, request: Request) -> httpx.Request:
        return self._api.build_request(
            request.method,
            "/v1" + request.path,
            params={name: value for name, value in request.query.items() if value is not None},
            json=request.json,
            files=request.files,
            headers=dict(request.headers),
            timeout=self._timeout(request.read_seconds),
        )

    def _timeout(self, read_seconds: float | None) -> httpx.Timeout:
        connect = min(CONNECT_SECONDS, self.timeout_seconds)
        return httpx.Timeout(self.timeout_seconds, connect=connect, read=read_seconds or self.timeout_seconds)


def problem_of(response: httpx.Response) -> ApiError:
    """The error that a read response with a status of 400 or more tells of."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, Mapping):
        problem = {"title": response.reason_phrase, "detail": response.text.strip()[:300]}
    return api_error(response.status_code, problem, retry_after(response.headers.get("Retry-After")))


def storage_refusal(response: httpx.Response) -> ApiError:
    """The error of an answer of the object storage, without its XML."""
    text = f"The object storage at {response.url.host} answered {response.status_code} {response.reason_phrase}."
    return api_error(response.status_code, {"code": "storage_refused", "detail": text})


def _decode(response: httpx.Response) -> Any:
    if response.is_redirect:
        raise ProtocolError(f"The API sent us on to {response.headers.get('Location')}: give that address as the URL.")
    try:
        return response.json()
    except ValueError as error:
        raise ProtocolError(
            f"{response.url.host} answered with something that is not JSON; is it Safelight?"
        ) from error
