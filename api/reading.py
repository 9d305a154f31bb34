"""Reading a request into its schemas, strictly: broken JSON is 400, a wrong type 415, a wrong field 422 by pointer.

flask-openapi3 would answer 422 to broken JSON and read a body of any content type; it only writes the document here.
"""

import re
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from flask import request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError, from_json, to_json
from werkzeug.datastructures import MultiDict

from models.errors import FieldError, RequestError, TooLargeError, UnsupportedMediaError, ValidationFailedError
from models.params import TASKS
from models.params.base import location
from models.params.faults import FIELD

M = TypeVar("M", bound=BaseModel)
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")

Flag = Literal["true", "false"]
"""A boolean of a query string."""

NO_NUL = r"^[^\x00]*$"
"""The pattern of free text in a document: JSON's text may hold NUL, Postgres' may not."""


def digits(text: Any) -> Any:
    """Before an integer of a query string."""
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise PydanticCustomError("int_parsing", "Input should be a whole number in decimal digits")
    return text


WholeNumber = Annotated[int, BeforeValidator(digits)]
"""An integer of a query string; pydantic alone would also take `1.0`, `1_0` and ` 1 `.

Where it may be absent, spell it `Annotated[int, Field(ge=…), BeforeValidator(digits)] | None`: in the other order the
document would say `ge` and not `minimum`.
"""
_LISTS = (list, tuple, set, frozenset)
_FRACTION = re.compile(rb"[0-9](?:\.[0-9]|[eE])")
MAX_EXACT = 2.0**53
"""Beyond it a float is no exact integer."""


class BrokenJsonError(RequestError):
    """The body is no JSON."""

    status = 400
    code = "broken_json"
    title = "The body is not valid JSON"


def read_json(*, optional: bool = False) -> tuple[bytes, Any]:
    """The body's bytes and value. An `optional` body that is empty reads as `{}`.

    Raises:
        TooLargeError, UnsupportedMediaError, BrokenJsonError, ValidationFailedError: the last for text that cannot be
            stored.
    """
    raw = request.get_data(cache=True)
    # Werkzeug cuts a chunked body off at the limit and says nothing.
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        raise TooLargeError("The body is larger than this endpoint reads.")
    if optional and not raw:
        return b"{}", {}
    if not request.is_json:
        raise UnsupportedMediaError("Send JSON, with `Content-Type: application/json`.")
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise BrokenJsonError(f"The body is not valid JSON: {error}.") from error
    if b"\\u0000" in raw:
        refuse_nul(value)
    if _FRACTION.search(raw):
        value = _whole_numbers(value)
        raw = to_json(value)
    return raw, value


def _whole_numbers(value: Any) -> Any:
    """With `20.0` as 20: an integer for JSON Schema and for JavaScript, which strict parsing would refuse."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT:
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _whole_numbers(entry) for name, entry in value.items()}
    return value


def _rfc3339(text: Any) -> Any:
    if isinstance(text, str) and not _MOMENT.match(text):
        raise PydanticCustomError("datetime_parsing", "Input should be a date and time of RFC 3339")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
"""A moment of a query string; pydantic alone would also take seconds since 1970."""


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise PydanticCustomError("unknown_task", "Known tasks are {names}", {"names": ", ".join(TASKS)})
    return name


TaskName = Annotated[str, AfterValidator(_known_task), Field(json_schema_extra={"enum": list(TASKS)})]
"""A name in `models.params.TASKS`."""


def refuse_nul(value: Any) -> None:
    """Postgres stores no NUL, in text or in jsonb."""
    found = [FieldError(pointer, "nul", "NUL is not text.") for pointer in _nul_pointers(value, "")]
    if found:
        raise ValidationFailedError(found[:20])


def body_reader(schema: type[M], *, optional: bool) -> Callable[[], M]:
    """A function that reads the request's body into `schema`."""
    adapter = TypeAdapter(schema)

    def read() -> M:
        raw, value = read_json(optional=optional)
        # In JSON mode strictness still lets a string be an enum or a date, but never an integer.
        return validated(lambda: adapter.validate_json(raw, strict=True), value)

    return read


def query_reader(schema: type[M]) -> Callable[[], M]:
    """A function that reads the query string into `schema`; unknown and repeated names are errors."""
    lists = {name for name, field in schema.model_fields.items() if _is_list(field.annotation)}
    return lambda: _read_query(schema, lists, request.args)


def header_reader(schema: type[M]) -> Callable[[], M]:
    """A function that picks the headers that `schema` names by alias."""
    names = [field.alias or name for name, field in schema.model_fields.items()]

    def read() -> M:
        given = {name: request.headers[name] for name in names if name in request.headers}
        return validated(lambda: schema.model_validate(given), given)

    return read


def validated(validate: Callable[[], M], value: Any) -> M:
    """Run a validation of `value` and give its findings our form; the value itself is not repeated in them."""
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ValidationFailedError([_field_error(entry, value) for entry in found]) from error


def _field_error(entry: Any, value: Any) -> FieldError:
    if entry["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        name = str(entry["ctx"]["discriminator"]).strip("'")
        known = entry["ctx"].get("expected_tags")
        message = f"Must be one of {known}." if known else "Must say which kind this is."
        inside = _pointer(entry["loc"], value, absent=False)
        return FieldError(f"{inside}/{name}", f"unknown_{name}" if known else "missing", message)
    # A field that a whole schema's finding names need not be in the value.
    absent = entry["type"] == "missing" or FIELD in entry.get("ctx", {})
    return FieldError(_pointer(location(entry), value, absent=absent), entry["type"], entry["msg"])


def _pointer(where: tuple[int | str, ...], value: Any, *, absent: bool) -> str:
    """A JSON pointer. Pydantic's location also names the branches of a union, which are not in the value."""
    pointer = ""
    for index, part in enumerate(where):
        if isinstance(value, list):
            inside = isinstance(part, int) and part < len(value)  # a tuple's missing entry is told by its place
        else:
            inside = isinstance(value, dict) and part in value
        if inside:
            value = value[part]
        elif not (absent and index == len(where) - 1):
            continue
        pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
    return pointer


def _read_query(schema: type[M], lists: set[str], arguments: "MultiDict[str, str]") -> M:
    given: dict[str, Any] = {}
    for name, values in arguments.lists():
        if "\x00" in name or any("\x00" in value for value in values):
            raise ValidationFailedError([FieldError("/query", "nul", "NUL is not text.")])
        if name in lists:
            given[name] = values
        elif len(values) > 1:
            raise ValidationFailedError([FieldError(f"/{name}", "repeated", "May be given once.")])
        else:
            given[name] = values[0]
    return validated(lambda: schema.model_validate(given), given)


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_is_list(part) for part in get_args(annotation))
    return origin in _LISTS


def _nul_pointers(value: Any, pointer: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\x00" in value:
            yield pointer
    elif isinstance(value, dict):
        for key, entry in value.items():
            if "\x00" in key:
                yield pointer
            else:
                yield from _nul_pointers(entry, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _nul_pointers(entry, f"{pointer}/{index}")
