"""The family `openai_endpoint`: prompts by a language model behind an address that speaks OpenAI's chat API.

The address, the key and the model are settings (`SAFELIGHT_EXPAND_PROMPT_…`); without an address the checkpoint is not
registered. A prompt goes to that address and nowhere else: never into a log, and never into an error.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httpx

from models.errors import CheckpointUnavailableError, PipelineFailedError, TransientError
from models.settings import get_settings
from worker.packaged.writing import PROMPT_WRITER, Manner, Sampling
from worker.pipelines.base import CheckpointFiles
from worker.pipelines.expanding.causal_lm import CausalLm
from worker.pipelines.expanding.cleaning import cleaned

if TYPE_CHECKING:
    from worker.devices import Device

CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 1 << 20
MANNER = replace(PROMPT_WRITER, system=f"{PROMPT_WRITER.system} Answer with the prompt alone, in the user's language.")
TOO_MANY_REQUESTS, SERVER_ERRORS = 429, 500


class RemoteWriter:
    """Asks for one text after the other; `generate` is `worker.packaged.writing.Writer`'s."""

    def __init__(self, url: str, key: str, model: str, timeout_seconds: float) -> None:
        """`url` is what `/chat/completions` follows, e.g. `http://127.0.0.1:8080/v1`."""
        self.model = model
        self._url = f"{url.rstrip('/')}/chat/completions"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS)
        self._client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=False)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        manner: Manner,
        starts: Sequence[str] | None,
        on_step: Callable[[int, int], None] | None,
    ) -> list[str]:
        """An answer to each prompt. One that does not begin as it should is put behind its beginning.

        Raises:
            TransientError: nobody answers, or not now.
            PipelineFailedError: the endpoint refuses, or its answer is none.
        """
        written = []
        begins = starts or [""] * len(prompts)
        for done, (prompt, seed, begin) in enumerate(zip(prompts, seeds, begins, strict=True)):
            text = cleaned(self._ask(prompt, seed, sampling, manner))
            repeated = text.lower().startswith(begin.lower())
            written.append(begin + (text[len(begin) :] if repeated else f"\n{text}"))
            if on_step is not None:
                on_step(done + 1, len(prompts))
        return written

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, prompt: str, seed: int, sampling: Sampling, manner: Manner) -> str:
        messages = [{"role": "system", "content": manner.system}] if manner.system else []
        for example in manner.examples:
            messages.append({"role": "user", "content": example.asked})
            messages.append({"role": "assistant", "content": example.answered})
        body = {
            "model": self.model,
            "messages": [*messages, {"role": "user", "content": prompt}],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": seed & 0x7FFFFFFF,  # endpoints take 32 bits at most
        }
        return _content(self._post(body))

    def _post(self, body: dict[str, Any]) -> bytes:
        try:
            with self._client.stream("POST", self._url, json=body) as answer:
                if answer.status_code == TOO_MANY_REQUESTS or answer.status_code >= SERVER_ERRORS:
                    raise TransientError(f"The prompt endpoint answers {answer.status_code}.")
                if not answer.is_success:
                    # Its words stay where they are: they may quote the prompt or the key.
                    raise PipelineFailedError(f"The prompt endpoint refuses with {answer.status_code}.")
                return _bounded(answer)
        except httpx.HTTPError as error:
            raise TransientError(f"The prompt endpoint does not answer: {type(error).__name__}.") from None


class OpenAiEndpoint(CausalLm):
    """As the language models here, but for who writes."""

    family: ClassVar[str] = "openai_endpoint"
    reads_chinese: ClassVar[bool] = True

    @classmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:  # noqa: ARG003  # nothing runs here
        """Read where it is."""
        settings = get_settings()
        if settings.expand_prompt_url is None:
            raise CheckpointUnavailableError("No prompt endpoint is set: SAFELIGHT_EXPAND_PROMPT_URL.")
        key = settings.expand_prompt_key
        writer = RemoteWriter(
            settings.expand_prompt_url,
            "" if key is None else key.get_secret_value(),
            settings.expand_prompt_model,
            settings.expand_prompt_timeout_seconds,
        )
        # Another model behind the address is another one to remember.
        source = f"{files.config.get('revision')} {settings.expand_prompt_url} {writer.model}"
        known = files.config | ({"revision": source} if files.config.get("revision") else {})
        return cls(writer, replace(files, name=writer.model, config=known), memory_bytes=0)

    @classmethod
    def estimate_bytes(cls, files: CheckpointFiles, device: "Device") -> int:  # noqa: ARG003  # nothing runs here
        """None."""
        return 0

    def close(self) -> None:
        """Let go of the connection."""
        if isinstance(self._writer, RemoteWriter):
            self._writer.close()

    @property
    def _manner(self) -> Manner:
        return MANNER


def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise PipelineFailedError("The prompt endpoint's answer does not end.")
    return bytes(body)


def _content(body: bytes) -> str:
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise PipelineFailedError("The prompt endpoint's answer is none of a chat.")
    return text
