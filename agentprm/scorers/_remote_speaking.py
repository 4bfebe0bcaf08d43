"""The language of each kind of server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from agentprm.errors import InvalidSpec
from agentprm.scorers._remote_client import Client
from agentprm.scorers._remote_ours import Ours
from agentprm.scorers._remote_served import Speaks
from agentprm.types import Sight, Unit

__all__ = ["Api", "speaking", "tokenizer_place"]

Api: TypeAlias = Literal["agentprm", "vllm", "vllm_classify", "sglang", "sglang_encode", "sglang_score"]


def speaking(asker: Any, client: Client) -> Speaks:
    """Return who speaks with the server of a `Remote`; raises InvalidSpec for settings that do not fit its `api`."""
    if asker.api not in get_args(Api):
        raise InvalidSpec(f"api is one of {', '.join(get_args(Api))}, not {asker.api!r}")
    if asker.api == "agentprm":
        return Ours(client)
    if asker.unit not in (None, *get_args(Unit)):
        raise InvalidSpec(f"unit is one of {', '.join(get_args(Unit))}, not {asker.unit!r}")
    return _in_tokens(asker, client)


def _in_tokens(asker: Any, client: Client) -> Speaks:
    # Only here are torch and transformers needed.
    from agentprm.scorers._remote_numbers import Head
    from agentprm.scorers._remote_reading import reading
    from agentprm.scorers._remote_sglang import SGLang, SGLangScore
    from agentprm.scorers._remote_tokens import Tokens, Wire
    from agentprm.scorers._remote_vllm import VLLM

    sees: Sight = asker.sees or "action"
    found = reading(asker.tokenizer["folder"], asker.reads, asker.separator, sees)
    wire: Wire
    if asker.api == "sglang_score":
        wire = SGLangScore(client, found.verdicts)
    elif asker.api.startswith("vllm"):
        wire = VLLM(client, asker.api == "vllm", asker.model, asker.activated)
    else:
        wire = SGLang(client, "/encode" if asker.api == "sglang_encode" else "/classify", asker.activated)
    head = Head(asker.unit or "correctness", asker.right)
    return Tokens(wire, found, head, sees, asker.context, asker.version)


def tokenizer_place(form: Any, api: str) -> dict[str, str] | None:
    """Return where a tokenizer is, as it is recorded; None for a server that has its own."""
    if api == "agentprm":
        return None
    given = form.get("folder") if isinstance(form, Mapping) else form
    if not isinstance(given, (str, Path)) or not str(given):
        raise InvalidSpec(
            f"{api} is asked in token ids: say tokenizer= the folder or the name on the Hugging Face Hub of the "
            "tokenizer that the served model was trained with"
        )
    return {"folder": str(Path(given).absolute()) if Path(given).is_dir() else str(given)}
