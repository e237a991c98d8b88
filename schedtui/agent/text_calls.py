"""Tool calls for models that know none: described in prose, answered as one JSON object in a fenced block.

Only the form: whether a call is allowed, and its arguments, the loop judges as it does for every mind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from schedtui.agent.mind import Call, Message, ToolSpec

_FENCE = re.compile(r"```(?:tool|json)?\s*\n(.*?)```", re.DOTALL)
_RULES = """

# How to call a tool
You cannot call tools in any other way than this. End your answer with exactly one block like

```tool
{"tool": "name_of_the_tool", "arguments": {"argument": "value"}}
```

and write nothing after it. You get the result in the next message. These are the tools:
"""


def with_tools_told(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[Message]:
    """The same conversation in plain text alone: tools in the first message, calls as blocks, results as messages."""
    told = [_plain(each) for each in messages]
    text = _RULES + "\n".join(_described(each) for each in tools)
    if told and told[0].role == "system":
        return [Message(role="system", text=told[0].text + text), *told[1:]]
    return [Message(role="system", text=text.strip()), *told]


def call_in(text: str, number: int) -> tuple[str, tuple[Call, ...]]:
    """What was said, and the call that it ends with; none when there is no block that names a tool.

    ``number`` makes the call's id. Arguments that are no JSON come back as they were written, for the loop to correct.
    """
    found = list(_FENCE.finditer(text))
    for match in reversed(found):
        block = match.group(1).strip()
        try:
            read = json.loads(block)
        except (ValueError, RecursionError):
            name = re.search(r'"tool"\s*:\s*"([^"]{1,100})"', block)
            if name:
                return _before(text, match), (Call(id=f"text-{number}", tool=name.group(1), arguments=block),)
            continue
        if isinstance(read, dict) and isinstance(read.get("tool"), str):
            arguments = json.dumps(read.get("arguments", {}))
            return _before(text, match), (Call(id=f"text-{number}", tool=read["tool"], arguments=arguments),)
    return text, ()


def _before(text: str, match: re.Match[str]) -> str:
    return text[: match.start()].rstrip()


def _plain(message: Message) -> Message:
    if message.role == "tool":
        return Message(role="user", text=f"Result of the tool:\n{message.text}")
    if message.calls:
        blocks = [_block(each) for each in message.calls]
        return Message(role="assistant", text="\n\n".join(filter(None, [message.text, *blocks])))
    return message


def _block(call: Call) -> str:
    arguments: Any
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return "```tool\n" + json.dumps({"tool": call.tool, "arguments": arguments}) + "\n```"


def _described(tool: ToolSpec) -> str:
    return f"- `{tool.name}`: {tool.description} Arguments, as a JSON schema: {json.dumps(tool.schema)}"
