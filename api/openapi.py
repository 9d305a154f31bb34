"""The OpenAPI 3.1 document and its offline page: what flask-openapi3 collects, made exact.

It copies schemas through a model of its own that drops keywords (`examples` among them) and offers an array of its own
errors as 422; here the schemas are replaced by pydantic's, and the problems are what `api.room` documents.
"""

import json
import re
from typing import Any

from flask import Flask, Response, redirect
from flask.typing import ResponseReturnValue
from flask_openapi3 import Info, OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.links import add_links
from api.problems import Problem
from api.room import BEARER

SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key, sl_<id>_<secret>."}
DOCUMENT_URL = "/openapi.json"
DOCS_URL = "/docs"
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
DESCRIPTION = """\
Post a job, poll it (or wait, stream its events), fetch the picture.

Every error is a problem document (RFC 9457) with a stable `code`. Send your key as `Authorization: Bearer sl_...`.
"""


class DocumentedApp(OpenAPI):  # type: ignore[misc]  # flask-openapi3 is untyped for mypy here
    """A Flask app whose document is finished once, when it is first asked for."""

    def __init__(self, import_name: str, version: str) -> None:
        super().__init__(
            import_name,
            info=Info(title="Safelight", version=version, description=DESCRIPTION),
            security_schemes={BEARER: SCHEME},
            validation_error_model=Problem,
            doc_prefix="/openapi",
            static_folder=None,
        )

    @property
    def api_doc(self) -> dict[str, Any]:
        """The document."""
        if not self.spec_json:
            self.generate_spec_json()
            _finish(self.spec_json)
        document: dict[str, Any] = self.spec_json
        return document


def install_docs(app: Flask) -> None:
    """`/openapi.json` and `/docs`, besides the plugin's own addresses."""

    def document() -> Response:
        return Response(json.dumps(app.api_doc), mimetype="application/json")  # type: ignore[attr-defined]

    def page() -> ResponseReturnValue:
        return redirect("/openapi/swagger")

    app.add_url_rule(DOCUMENT_URL, "openapi_document", document)
    app.add_url_rule(DOCS_URL, "docs", page)


def _finish(document: dict[str, Any]) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.setdefault("security", [])
            # The library documents its own 422 wherever we document none.
            answers = operation["responses"]
            if "application/json" in answers.get("422", {}).get("content", {}):
                del answers["422"]
    exact = _exact_schemas()
    components: dict[str, Any] = {}
    missing = _references(document["paths"])
    while missing:
        name = missing.pop()
        components[name] = exact[name]
        missing |= _references(exact[name]) - set(components)
    document["components"]["schemas"] = dict(sorted(components.items()))
    add_links(document)


def _references(part: Any) -> set[str]:
    """The names of the schemas that a part of the document refers to."""
    return set(_REFERENCE.findall(json.dumps(part)))


def _exact_schemas() -> dict[str, Any]:
    """Pydantic's own JSON schemas of everything that the rooms declare."""
    models = [model for model in _subclasses(BaseModel) if model.__module__.startswith(("api.", "models."))]
    found: dict[str, Any] = {}
    for mode in ("serialization", "validation"):
        wanted = [(model, mode) for model in models if (mode == "validation") == _is_input(model)]
        _, schema = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        found |= schema.get("$defs", {})
    return found


def _is_input(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "forbid" or bool(model.model_config.get("openapi_extra"))


def _subclasses(base: type[BaseModel]) -> list[type[BaseModel]]:
    found = []
    for subclass in base.__subclasses__():
        found += [subclass, *_subclasses(subclass)]
    return found
