"""Tiny models that answer over HTTP in the shapes of vLLM and SGLang: every number comes out of a real network."""

import json

import torch
from transformers import AutoModelForCausalLM

NAME = "my-prm"


class Judging:
    """What a reward model makes of token ids: a row of its own numbers for each of them."""

    def __init__(self, backbone, head):
        self.backbone, self.head = backbone.eval(), head.eval()

    @torch.no_grad()
    def __call__(self, ids):
        states = self.backbone(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
        return self.head(states.float())


def activated(rows):
    return rows.softmax(-1) if rows.shape[-1] > 1 else rows.sigmoid()


class VLLM:
    """vLLM's /v1/models, /pooling and /classify; `step` is the sign of STEP pooling.

    `obeys` says whether it knows `use_activation`, as versions before 0.11 did not.
    """

    def __init__(self, rows, limit=512, step=None, obeys=True, names=(NAME,), always=True):
        self.rows, self.limit, self.step, self.obeys, self.names = rows, limit, step, obeys, names
        self.always = always
        """What one that does not obey does."""

    def __call__(self, path, body):
        if path == "/v1/models":
            data = [{"id": n, "object": "model", "root": f"org/{n}", "max_model_len": self.limit} for n in self.names]
            return {"object": "list", "data": data}
        asked = json.loads(body)
        assert asked["model"] in self.names
        assert set(asked) <= {"model", "input", "use_activation", "task"}, "what vLLM does not know it ignores"
        use = asked["use_activation"] if self.obeys else self.always
        rows = [activated(self.rows(ids)) if use else self.rows(ids) for ids in asked["input"]]
        read = sum(map(len, asked["input"]))
        answer = {"id": "x", "object": "list", "created": 1, "model": asked["model"]}
        usage = {"prompt_tokens": read, "total_tokens": read, "completion_tokens": 0, "prompt_tokens_details": None}
        data = self._pooled(asked, rows) if path == "/pooling" else self._classified(rows)
        return {**answer, "data": list(data), "usage": usage}

    def _pooled(self, asked, rows):
        assert asked["task"] == "token_classify"
        for i, (ids, one) in enumerate(zip(asked["input"], rows, strict=True)):
            kept = one[torch.tensor(ids) == self.step] if self.step is not None else one
            yield {"index": i, "object": "pooling", "data": kept.tolist()}

    def _classified(self, rows):
        last = [one[-1].tolist() for one in rows]
        return [{"index": i, "label": "x", "probs": row, "num_classes": len(row)} for i, row in enumerate(last)]


class SGLang:
    """SGLang's /model_info, /classify, /encode and /v1/score."""

    def __init__(self, rows=None, folder=None, old=False):
        self.rows, self.old = rows, old
        self.writes = AutoModelForCausalLM.from_pretrained(folder).eval() if folder else None

    def __call__(self, path, body):
        if path.endswith("model_info"):
            return {"model_path": NAME, "tokenizer_path": NAME, "is_generation": False, "weight_version": "default"}
        asked = json.loads(body)
        if path == "/v1/score":
            return {"scores": [self._next(asked, item) for item in asked["items"]], "model": asked["model"]}
        said = [self.rows(ids)[-1].tolist() for ids in asked["input_ids"]]
        counts = map(len, asked["input_ids"])
        return [
            {"embedding": row, "meta_info": {"id": "x", "prompt_tokens": n}}
            for row, n in zip(said, counts, strict=True)
        ]

    @torch.no_grad()
    def _next(self, asked, item):
        assert asked["apply_softmax"]
        assert not asked["item_first"]
        logits = self.writes(torch.tensor([asked["query"] + item])).logits[0, -1]
        return logits[asked["label_token_ids"]].softmax(-1).tolist()
