"""What several fields get wrong together, told of the one that is to be changed."""

from pydantic_core import PydanticCustomError

FIELD = "field"
"""In the context of the error: pydantic gives what a whole schema finds no field."""


def fault(field: str, message: str, code: str = "value_error") -> PydanticCustomError:
    """To be raised by a model validator."""
    return PydanticCustomError(code, "{message}", {FIELD: field, "message": message})
