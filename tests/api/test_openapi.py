"""The document: complete, valid, offline; and what schemathesis finds against the real application."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from api.app import ROOMS
from models.params import TASKS
from tests.api.conftest import Caller

EXTERNAL = re.compile(r"""(?:src|href|url)\s*[=(:]\s*["'`]?\s*(?:https?:)?//""", re.IGNORECASE)


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    assert answer.mimetype == "application/json"
    found: dict[str, Any] = json.loads(answer.data)
    return found


def test_every_route_of_the_api_is_in_the_document(app: Flask, document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    declared = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, item in document["paths"].items() for method in item}
    assert documented == declared
    assert {tag["name"] for tag in document["tags"]} == {room.name for room in ROOMS}


def test_every_operation_says_what_it_needs_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            public = path in {"/v1/health/live", "/v1/health/ready"}
            assert operation["security"] == ([] if public else [{"bearer": []}]), where
            for status, answer in operation["responses"].items():
                if status[0] in "45" and not public:
                    assert list(answer["content"]) == ["application/problem+json"], where
            assert public or {"401", "429", "503"} <= set(operation["responses"]), where


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document["components"]["schemas"], name
    assert set(re.findall(r'"\$ref": "([^"]+)"', text)) == set(
        re.findall(r'"\$ref": "(#/components/schemas/[^"]+)"', text)
    )


def test_params_are_documented_for_each_task(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    request = schemas["JobRequest"]
    assert request["discriminator"]["propertyName"] == "task"
    assert set(request["discriminator"]["mapping"]) == set(TASKS)
    assert request["examples"]
    for task, reference in request["discriminator"]["mapping"].items():
        body = schemas[reference.rsplit("/", 1)[1]]
        params = schemas[body["properties"]["params"]["$ref"].rsplit("/", 1)[1]]
        assert set(params["properties"]) == set(TASKS[task].model_fields)
        assert body["additionalProperties"] is False


def test_the_page_works_offline(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    assert "swagger-ui" in page.text
    assert not EXTERNAL.search(page.text)
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) >= 3
    for asset in assets:
        with client.get(f"/openapi/{asset}") as served:
            assert served.status_code == 200, asset
    assert client.get("/openapi/openapi.json").json == client.get("/openapi.json").json


def test_examples_are_accepted(caller: Caller, document: dict[str, Any]) -> None:
    example = document["components"]["schemas"]["JobRequest"]["examples"][0]
    assert caller.post("/v1/jobs", example).status_code == 202


def test_links_lead_from_answers_to_parameters_that_are_there(document: dict[str, Any]) -> None:
    operations = {
        operation["operationId"]: operation for item in document["paths"].values() for operation in item.values()
    }
    links = [
        (source, answer, link)
        for source in operations.values()
        for answer in source["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert links
    for source, answer, link in links:
        target = operations[link["operationId"]]
        taken = {parameter["name"] for parameter in target["parameters"] if parameter["in"] == "path"}
        assert set(link["parameters"]) <= taken, (source["operationId"], link)
        for expression in link["parameters"].values():
            first = expression.removeprefix("$response.body#/").split("/")[0]
            schema = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert first in document["components"]["schemas"][schema]["properties"], (source["operationId"], link)


def test_no_bound_is_written_in_pydantics_words(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert [word for word in ("ge", "le", "gt", "lt", "multiple_of") if f'"{word}": ' in text] == []
