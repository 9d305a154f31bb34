"""OpenAPI links: which answer holds the id that other endpoints take. A client, or a fuzzer, may walk along them."""

from typing import Any

_JOB = ("get_job", "delete_job", "cancel_job", "retry_job", "clone_job", "get_result", "get_preview", "stream_events")
_UPLOAD = ("get_upload", "get_upload_content", "delete_upload")
_WEBHOOK = (
    "get_webhook", "change_webhook", "delete_webhook", "rotate_webhook_secret", "get_webhook_secret",
    "list_webhook_deliveries", "test_webhook",
)  # fmt: skip

LINKS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("submit_job", "202", "job_id", "/id", _JOB),
    ("retry_job", "202", "job_id", "/id", _JOB),
    ("clone_job", "202", "job_id", "/id", _JOB),
    ("cancel_job", "200", "job_id", "/id", ("get_job", "retry_job", "clone_job", "delete_job")),
    ("get_job", "200", "artifact_id", "/artifacts/0/id", ("get_artifact", "get_artifact_content")),
    ("create_upload", "201", "upload_id", "/id", _UPLOAD),
    ("create_checkpoint", "201", "name", "/name", ("get_checkpoint", "delete_checkpoint")),
    ("create_key", "201", "key_id", "/id", ("delete_key",)),
    ("list_clients", "200", "name", "/items/0/name", ("get_client", "change_client")),
    ("create_webhook", "201", "webhook_id", "/id", _WEBHOOK),
)
"""Operation, status, the parameter that the others take, where its answer has the value, and the others."""


def add_links(document: dict[str, Any]) -> None:
    """Write them into a finished document.

    Raises:
        KeyError: an operation or an answer that the document does not have.
    """
    operations = {
        operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()
    }
    for source, status, parameter, pointer, targets in LINKS:
        links = operations[source]["responses"][status].setdefault("links", {})
        for target in targets:
            links[operations[target]["operationId"]] = {
                "operationId": target,
                "parameters": {parameter: f"$response.body#{pointer}"},
            }
