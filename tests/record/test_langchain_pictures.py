"""Pictures in messages: bytes that came along are kept, everything else is noted, nothing raises."""

import base64

import pytest

pytest.importorskip("langchain")

from langchain_core.messages import HumanMessage

from agentprm.record._langchain_messages import observation

PIXEL = b"\x89PNG"
DATA = base64.b64encode(PIXEL).decode()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": DATA, "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{DATA}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ],
    ids=["langchain", "langchain 0", "openai", "openai short", "anthropic"],
)
def test_a_picture_that_came_along_is_kept(block):
    seen = observation({"messages": [HumanMessage([{"type": "text", "text": "what is it?"}, block])]})
    assert seen.text == "what is it?"
    assert [(image.media_type, image.data) for image in seen.images] == [("image/png", PIXEL)]


@pytest.mark.parametrize(
    ("block", "note"),
    [
        ({"type": "image", "url": "https://example.org/a.png"}, "<image https://example.org/a.png>"),
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "<image https://example.org/a.png>"),
        ({"type": "image", "source": {"type": "url", "url": "https://x.org/a"}}, "<image https://x.org/a>"),
        ({"type": "image", "file_id": "f1"}, "<image>"),
        ({"type": "audio", "base64": DATA, "mime_type": "audio/wav"}, "<audio audio/wav>"),
        ({"type": "file", "url": "https://example.org/a.pdf"}, "<file https://example.org/a.pdf>"),
        ({"type": "image", "url": "https://example.org/" + "a" * 9000}, f"<image https://example.org/{'a' * 480}…>"),
    ],
    ids=["langchain", "openai", "anthropic", "file id", "sound", "file", "long"],
)
def test_what_lies_elsewhere_is_noted(block, note):
    seen = observation({"messages": [HumanMessage([{"type": "text", "text": "what is it?"}, block])]})
    assert (seen.text, seen.images) == (f"what is it?\n{note}", ())


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": "é"},
        {"type": "image", "base64": "A"},
        {"type": "image", "base64": 7},
        {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": {"url": 3}},
        {"type": "image", "source": [1]},
        {"type": "image_url"},
    ],
    ids=["no ascii", "no base64", "no text", "nothing", "number", "list", "empty"],
)
def test_what_is_no_picture_is_none(block):
    seen = observation({"messages": [HumanMessage([{"type": "text", "text": "what is it?"}, block])]})
    assert seen.text.startswith("what is it?")
    assert seen.images == ()
