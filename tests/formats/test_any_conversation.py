"""Any conversation at all: read, or refused by name; and what was read comes back word for word."""

import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from agentprm import formats
from agentprm.errors import InvalidFormat

TEXTS = st.sampled_from(["", "hi", "a\x00b", "\ud800", "日本", "task"])
KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | TEXTS
JSON = st.recursive(SCALARS, lambda inside: st.lists(inside, max_size=2) | st.dictionaries(KEYS, inside, max_size=2))
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})
    | st.fixed_dictionaries({"type": st.sampled_from(["image_url", "input_audio", "thinking"]), "thinking": TEXTS}),
    max_size=3,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": KEYS, "type": st.just("function")},
        optional={"function": st.fixed_dictionaries({"name": TEXTS, "arguments": st.sampled_from(
            ['{"x": 1}', '{"x":1}', "{", "[1]", "3", "", '{"x": NaN}', '{"x": 1, "x": 2}'])})},
    ),
    max_size=3,
)  # fmt: skip
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "assistant", "tool", "function", "critic"])},
    optional={
        "content": TEXTS | PARTS | st.none(), "tool_calls": CALLS, "tool_call_id": KEYS, "name": KEYS,
        "reasoning_content": TEXTS | st.none(), "refusal": TEXTS | st.none(), "status": st.just("error"), "extra": JSON,
    },
)  # fmt: skip
LINES = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGES, max_size=8)},
    optional={"tools": JSON, "system": JSON, "openai": JSON, "id": JSON, "model": JSON, "-": JSON, "$float": JSON},
)


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_it_is_refused_or_comes_back_as_it_was(line):
    data, file = json.dumps(line).encode(), io.BytesIO()
    try:
        (trajectory,) = formats.read(io.BytesIO(data), "openai_messages")
    except InvalidFormat:
        return
    formats.write(file, [trajectory], "openai_messages")
    assert _text(json.loads(file.getvalue())) == _text(json.loads(data))
    for form in ("openai_messages", "jsonl", "atif", "sharegpt"):
        file = io.BytesIO()
        formats.write(file, [trajectory], form)
        file.seek(0)
        assert list(formats.read(file, form)) == [trajectory], form


def _text(value):
    return json.dumps(value, sort_keys=True)
