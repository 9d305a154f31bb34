"""What an endpoint is: a rule, who may call it, the schemas of what it reads and answers, and a view.

The view's annotations `path`, `query`, `header` and `body` are the schemas; they document the endpoint and are read by
`api.reading`. A view returns an `Answer` (a schema, a status, headers) or a response of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, get_type_hints

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from api.auth import Access
from api.problems import MEDIA_TYPE
from api.reading import body_reader, header_reader, query_reader
from models.errors import NotFoundError

View = Callable[..., Any]
BEARER = "bearer"
PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
PROBLEM_TEXTS: dict[int, str] = {
    400: "The request is malformed.",
    401: "No key, or not a valid one.",
    403: "The key's role does not allow this.",
    404: "There is no such thing that this key can see.",
    409: "Not possible in this state.",
    410: "It was there, and has been deleted.",
    413: "Too large.",
    415: "The content type is not one that this endpoint reads.",
    422: "Fields that do not fit, one entry each.",
    429: "A quota or a rate limit is used up; see Retry-After.",
    503: "A service behind the API does not answer; see Retry-After.",
}


def either(description: str, *schemas: type[BaseModel]) -> dict[str, Any]:
    """An answer that is one of several schemas."""
    references = [{"$ref": f"#/components/schemas/{schema.__name__}"} for schema in schemas]
    return {"description": description, "content": {"application/json": {"schema": {"anyOf": references}}}}


@dataclass(frozen=True)
class Answer:
    """What a view found, before it is JSON."""

    content: BaseModel | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()

    def response(self) -> Response:
        """As JSON."""
        text = b"" if self.content is None else self.content.model_dump_json(exclude=set(self.exclude)).encode()
        response = Response(text, self.status, mimetype="application/json")
        if self.content is None:
            del response.headers["Content-Type"]
        response.headers.update(self.headers)
        return response


class Room(APIBlueprint):  # type: ignore[misc]  # flask-openapi3 is untyped for mypy here
    """The endpoints of one feature, below /v1."""

    def __init__(self, name: str, description: str, *, prefix: str = "/v1") -> None:
        super().__init__(name, __name__, url_prefix=prefix, abp_tags=[Tag(name=name, description=description)])

    def endpoint(
        self,
        method: str,
        rule: str,
        *,
        access: Access,
        answers: Mapping[int, Any],
        problems: Sequence[int] = (),
        extensions: Mapping[str, Any] | None = None,
    ) -> Callable[[View], View]:
        """Register a view. `answers` maps a status to a schema, None (empty) or an OpenAPI response."""

        def decorate(view: View) -> View:
            checked = _checked(view, access)
            register = getattr(super(Room, self), method.lower())
            documented = _problems(view, access, problems)
            register(
                rule,
                responses={**answers, **documented},
                security=[] if access is Access.PUBLIC else [{BEARER: []}],
                operation_id=view.__name__,
                openapi_extensions=dict(extensions or {}),
            )(checked)
            return view

        return decorate


def _checked(view: View, access: Access) -> View:
    """The view behind the readers of its schemas, which are built once."""
    hints = get_type_hints(view)
    readers: dict[str, Callable[[], BaseModel]] = {}
    if "query" in hints:
        readers["query"] = query_reader(hints["query"])
    if "header" in hints:
        readers["header"] = header_reader(hints["header"])
    if "body" in hints:
        extra: Mapping[str, Any] = hints["body"].model_config.get("openapi_extra", {})
        readers["body"] = body_reader(hints["body"], optional=not extra.get("required", True))
    path: type[BaseModel] | None = hints.get("path")

    @wraps(view)
    def run(**arguments: Any) -> Response:
        if any("\x00" in value for value in arguments.values() if isinstance(value, str)):
            raise NotFoundError("There is nothing under this address.")
        read: dict[str, Any] = {name: reader() for name, reader in readers.items()}
        if path is not None:
            read["path"] = path.model_construct(**arguments)
        answer = view(**read)
        return answer.response() if isinstance(answer, Answer) else answer

    # Tells flask-openapi3 that the request is validated here.
    run.__delay_validate_request__ = True  # type: ignore[attr-defined]
    run.access = access  # type: ignore[attr-defined]
    return run


def _problems(view: View, access: Access, more: Sequence[int]) -> dict[int, dict[str, Any]]:
    hints = get_type_hints(view)
    statuses = set(more)
    if access is not Access.PUBLIC:
        statuses |= {401, 429, 503}
    if access not in {Access.PUBLIC, Access.READ}:
        statuses.add(403)
    if "body" in hints:
        statuses |= {400, 413, 415, 422}
    if "query" in hints or "header" in hints:
        statuses.add(422)
    if "path" in hints:
        statuses.add(404)
    return {
        status: {"description": PROBLEM_TEXTS[status], "content": {MEDIA_TYPE: {"schema": dict(PROBLEM_REF)}}}
        for status in sorted(statuses)
    }
