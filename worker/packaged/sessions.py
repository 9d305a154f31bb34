"""ONNX networks on the CPU: one thread, one order of operations, so that the same input gives the same bytes."""

from typing import Any

from models.errors import CheckpointUnavailableError
from worker.packaged.files import PackagedFile, locate

QUIET = 3
"""Only errors: the converters left warnings in these graphs that nobody can act on."""


def open_session(file: PackagedFile, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of a packaged network.

    Raises:
        CheckpointUnavailableError: onnxruntime or the package is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise CheckpointUnavailableError("onnxruntime is not installed here: pip install safelight[models]") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(str(locate(file)), options, providers=["CPUExecutionProvider"])


def input_names(session: Any) -> list[str]:
    """Of its graph, in order."""
    return [entry.name for entry in session.get_inputs()]
