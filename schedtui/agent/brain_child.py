"""The process that talks to a model: litellm lives here, and nowhere else.

Importing it takes seconds and much memory, and its calls cannot be interrupted: so it has a process of its own, which
brain.py starts early, and kills when an answer is no longer wanted. One JSON object a line on standard input is a
request; on standard output come pieces of text, then the answer or the fault. Nothing is written to a disk.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, TextIO

MAX_REPLY_CHARACTERS = 400_000
"""Of text and arguments together. The longest policy source that the verifier reads is far below it."""
MAX_RECORDED_CHUNKS = 20_000
_MEMORY_BYTES = 6 << 30
_KEPT_OF_A_FAULT = 400
_RETRIABLE = {
    "InternalServerError",
    "ServiceUnavailableError",
    "BadGatewayError",
    "APIConnectionError",
    "APIError",
    "Timeout",
    "MidStreamFallbackError",
    "NoAnswer",
}


class TooLong(Exception):
    """The model does not stop writing."""


class NoAnswer(Exception):
    """The stream ended, and nothing had been said: cut off, mostly."""


def main() -> None:
    """Serve requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # what libraries print must neither break the protocol nor show a key
    os.dup2(quiet, 2)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    litellm = _import_litellm()
    _tell(out, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "price_of" in request:
            _tell(out, {"price": _cost(litellm, request["price_of"], 1, 1)})
            continue
        try:
            _tell(out, {"reply": _answer(litellm, request, out)})
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the other side gets a sentence
            _tell(out, {"fault": _fault(error, request.get("api_key") or "")})


def _import_litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no network at import
    os.environ.setdefault("LITELLM_LOG", "CRITICAL")
    import litellm

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    litellm.telemetry = False
    return litellm


def _answer(litellm: Any, request: dict[str, Any], out: TextIO) -> dict[str, Any]:
    model, tools = request["model"], request["tools"]
    native = bool(tools) and _knows_tools(litellm, model, request["form"])
    arguments: dict[str, Any] = {
        "model": model,
        "messages": request["messages"] if native or not tools else request["plain_messages"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request["max_output_tokens"],
        "timeout": request["timeout_s"],
        "num_retries": 0,
        "max_retries": 0,
    }
    for name in ("api_base", "api_key"):
        if request.get(name):
            arguments[name] = request[name]
    if native:
        arguments["tools"] = tools
    try:
        reply = _streamed(litellm.completion(**arguments), out, record=request["record"])
    except Exception as error:
        if not (native and request["form"] == "auto" and _refuses_tools(error)):
            raise
        return _answer(litellm, {**request, "form": "text"}, out)
    _count(litellm, model, arguments["messages"], reply)
    return {**reply, "native": native}


def _streamed(chunks: Any, out: TextIO, *, record: bool) -> dict[str, Any]:
    """Put the pieces of an answer together, telling its words as they come."""
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    usage: dict[str, Any] = {}
    recorded: list[dict[str, Any]] = []
    finish = ""
    length = 0
    for chunk in chunks:
        if record and len(recorded) < MAX_RECORDED_CHUNKS:
            recorded.append(chunk.model_dump(exclude_none=True))
        given = getattr(chunk, "usage", None)
        if given:
            usage = {"input": given.prompt_tokens, "output": given.completion_tokens}
        for choice in chunk.choices[:1]:
            finish = choice.finish_reason or finish
            piece = choice.delta.content or ""
            if piece:
                text.append(piece)
                length += len(piece)
            for call in choice.delta.tool_calls or ():
                known = calls.setdefault(call.index or 0, {"id": "", "tool": "", "arguments": ""})
                known["id"] = known["id"] or call.id or ""
                known["tool"] = known["tool"] or call.function.name or ""
                known["arguments"] += call.function.arguments or ""
                length += len(call.function.arguments or call.function.name or "")
            if length > MAX_REPLY_CHARACTERS:
                raise TooLong
            if piece:
                _tell(out, {"text": piece})
    if not length:
        raise NoAnswer
    return {
        "text": "".join(text),
        "calls": [calls[index] for index in sorted(calls)],
        "usage": usage,
        "finish": finish,
        "chunks": recorded,
    }


def _count(litellm: Any, model: str, messages: list[dict[str, Any]], reply: dict[str, Any]) -> None:
    """Tokens as the server counted them (litellm's count where it says nothing), and their price; None: not known."""
    usage = reply["usage"]
    if not usage:
        said = reply["text"] + "".join(each["arguments"] for each in reply["calls"])
        usage = {
            "input": litellm.token_counter(model=model, messages=messages),
            "output": litellm.token_counter(model=model, text=said),
        }
    cost = _cost(litellm, model, usage["input"], usage["output"])
    reply["usage"] = {**usage, "dollars": None if cost is None else sum(cost)}


def _cost(litellm: Any, model: str, read: int, written: int) -> list[float] | None:
    """Dollars for so many tokens read, and for so many written; None: not known."""
    try:
        return [*litellm.cost_per_token(model=model, prompt_tokens=read, completion_tokens=written)]
    except Exception:  # noqa: BLE001 - litellm raises several kinds for a model that its table does not hold
        return None


def _knows_tools(litellm: Any, model: str, form: str) -> bool:
    """``auto``: yes, unless the model is known to know none. What the table does not hold is tried."""
    if form != "auto":
        return form == "native"
    try:
        known = litellm.get_model_info(model)
    except Exception:  # noqa: BLE001 - as above
        return True
    return known.get("supports_function_calling") is not False


def _refuses_tools(error: Exception) -> bool:
    words = str(error).lower()
    return type(error).__name__ in ("BadRequestError", "UnsupportedParamsError", "APIError") and (
        "tool" in words or "function" in words
    )


def _fault(error: Exception, key: str) -> dict[str, Any]:
    name = type(error).__name__
    message = str(error)
    if key:
        message = message.replace(key, "<secret>")
    return {
        "kind": name,
        "retriable": name in _RETRIABLE or name == "RateLimitError",
        "status": getattr(error, "status_code", None),
        "retry_after_s": _retry_after_s(error),
        "message": message[:_KEPT_OF_A_FAULT],
    }


def _retry_after_s(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None


def _tell(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
