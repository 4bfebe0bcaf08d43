"""Write docs/schema.md from the tables and views: python docs/make_schema.py"""  # noqa: D415

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentprm import Store
from agentprm.store.tables import metadata

WHAT = {
    "trajectory": "One episode. `status` is NULL while it runs, or when it was killed.",
    "step": "One decision, narrow: what is scanned most.",
    "content": "What a step did and what it led to; row −1 holds the first observation. Native values are exact JSON.",
    "tool_call": "One call of a tool within a step, in the model's order.",
    "score": "One number: of a scorer's version, for a step. Labels and credits are scores too.",
    "score_note": "A rationale beside a score.",
    "scorer": "One version of a scorer: immutable, named by the digest of its recipe.",
    "score_job": "A scorer's work on what matches a selector, shared by workers: what `agentprm score` does.",
    "score_claim": "A trajectory that waits for a worker, is with one, or could not be scored.",
    "episode_score": "What a scorer said of a finished episode, added up from `score` when a question is asked.",
    "action_score": "The same per tool or verb.",
    "shaping": "The recipe that turned scores into `given_reward`.",
    "outcome": "Opinions on how an episode went; the latest counts.",
    "label": "What people said of a step or an episode.",
    "task": "What was asked.",
    "policy": "Who acted.",
    "env": "Where.",
    "tool": "Names of tools.",
    "part": "Names of series within scores: `score`, `rollouts`, …",
    "blob": "Long texts and pictures, once per content.",
    "ingest": "Batches that were written, so that one written twice is noticed.",
    "meta": "Facts about the database itself.",
}
VIEWS = {
    "v_trajectory": "An episode, names instead of numbers.",
    "v_step": "A step with what it saw before and after.",
    "v_tool_call": "A call of a tool.",
    "v_score": "One number, with who said it and why.",
}
MEANS = {
    "action": "what was done: text, else the native value as JSON",
    "action_hash": "of a long `action_text`: names the whole in `blob`",
    "after": "the score there",
    "action_native": "what was handed to the environment, as exact JSON, where that is not the text",
    "action_text": "what was done or said",
    "annotator": "who said so",
    "arguments": "JSON",
    "at": "when it was said",
    "attempts": "how often it was run; 0 when rejected",
    "base": "the blob that begins alike, where this one is stored as what comes after",
    "before": "the score before the step that lost most",
    "calls": "how many of them were tool calls",
    "call_id": "the caller's own id",
    "characters": "length of what was done or said, else of the plan",
    "code": "what kind of mark",
    "committed_at": "when it was on disk",
    "completed": "its place in the order in which episodes ended up complete here; given when that order is next read",
    "created_at": "when it was first met",
    "data": "the bytes: behind those shared with `base`; compressed (zlib) where `n_bytes` is given",
    "digest": "128 bits, in hex, of the recipe",
    "dollars": "cost of those steps",
    "ended_at": "when it ended",
    "env": "the environment's name",
    "error": "what the scorer raised at the last try",
    "env_return": "sum of what the world paid",
    "env_reward": "what the world paid; NULL for NaN",
    "external_id": "somebody else's id of it, such as a LangChain root run",
    "failed": "how many of those went wrong",
    "failed_at": "when it was given up",
    "first": "the first score",
    "fork": "JSON of the intervention, where it was played again with one",
    "fork_call": "the tool call that started it, where it is an agent inside an agent",
    "fork_index": "the parent's step from which it parts",
    "generation": "the last collection of garbage before it was used",
    "given_return": "sum of what the learner was paid",
    "given_reward": "what the learner was paid; in tables NULL where that is the world's own reward",
    "group_key": "episodes compared with each other, as in GRPO",
    "idx": "the step's place in its episode, from 0",
    "info": "what the environment or recorder said beside, as JSON: `latency` (s), `tokens`, …",
    "kind": "`tool`, `plan`, `message` or `env`",
    "media_type": "`text/plain`, `application/json`, or that of a picture",
    "n_bytes": "length of `data` before it was compressed; NULL where it was not",
    "n_chars": "length of the whole text; NULL for a picture",
    "last": "the last score",
    "last_idx": "step of the last score",
    "least": "the lowest score",
    "n": "how many scores",
    "n_none": "trajectories on which the scorer had no opinion anywhere",
    "n_rows": "how many rows it had",
    "n_scored": "trajectories that it scored",
    "n_steps": "how many steps",
    "note": "a rationale",
    "observation": "what the agent saw before it acted",
    "odd": "exact form of what no column takes, as JSON",
    "outcome": "how well it went, in [0, 1], by the latest opinion",
    "output": "what came back",
    "output_hash": "of a long `output_text`: names the whole in `blob`",
    "output_native": "what came back, as exact JSON, where it was no text",
    "output_text": "what came back, as text",
    "paid_n": "steps that say what they took",
    "paid_total": "what those changed, in sum",
    "parent_id": "the episode it came from: played again from there, or started by it",
    "part": "which series: `score` is the number itself",
    "place": "in the order of completion, up to which it has looked",
    "plan_hash": "of a long `plan`: names the whole in `blob`",
    "plan": "reasoning, and words said before the calls",
    "policy": "who acted",
    "position": "the call's place among the calls of its step, from 0",
    "result": "what the agent saw after it acted",
    "result_hash": "of a long `result_text`: names the whole in `blob`",
    "result_images": "pictures seen: names in `blob`, with commas between",
    "result_native": "what was seen, as exact JSON",
    "result_text": "what was seen, as text",
    "seconds": "how long those steps took",
    "seed": "of the environment's reset",
    "sees": "how far the scorer looks: `action`, `result` or `episode`",
    "selector": "which trajectories, as JSON",
    "seq": "the writer's count",
    "shared": "how many bytes of `base` come first",
    "shaping": "recipe of what was paid, as JSON",
    "source": "who said so: `env` is the environment itself",
    "spec": "the recipe, as JSON",
    "started_at": "when it began",
    "state_hash": "names what was seen: equal for equal states",
    "status": "how it ended: `terminated`, `truncated`, `completed`, `failed`, `interrupted`, `aborted`, `incomplete`",
    "supersedes": "the label that this one replaces",
    "task": "the task's key",
    "task_text": "the task in words",
    "template": "of the text that the scorer read",
    "terminated": "whether the world said that it was over",
    "text": "in words",
    "tokenizer": "of the scorer",
    "tokens": "how many tokens those steps took",
    "tool": "its name",
    "total": "their sum",
    "trajectory": "the episode's id, as text",
    "trajectory_id": "the episode's id as stored: join on this",
    "tries": "how often it was with a worker",
    "truncated": "whether it was cut off",
    "unit": "`value`, `correctness` or `reward`",
    "until": "when the worker loses it, unless it renews the claim; NULL where it waits",
    "value": "the number; NULL where there was no opinion",
    "weights": "digest of the scorer's weights",
    "worker": "who scores it: machine/process/…",
    "worst_idx": "the step that lost most",
    "writer_id": "who wrote",
    **{f"n_{i}": f"scores from {i / 10:g} on, under {(i + 1) / 10:g}" for i in range(1, 9)},
    **{f"total_{i}": "their sum" for i in range(10)},
    "n_0": "scores under 0.1",
    "n_9": "scores from 0.9 on",
}
"""What a column holds, wherever it stands; `id`, `name`, `key` and references speak for themselves."""
OWN = {
    ("score_job", "ended_at"): "when nothing was left",
    ("blob", "hash"): "names the content, in this database",
    ("score_note", "text_hash"): "of a long `text`: names the whole in `blob`",
    ("task", "text_hash"): "of the text: one key may have several texts",
    ("label", "comment"): "in words",
    ("label", "value"): "under 0.5, or missing: an error",
    ("outcome", "value"): "in [0, 1], a success from 0.5 on",
    ("shaping", "scorer"): "digest of the scorer whose scores were paid",
    ("tool_call", "status"): "`ok`, `error`, `pending` or `rejected`",
    ("v_tool_call", "status"): "`ok`, `error`, `pending` or `rejected`",
    ("action_score", "action"): "the tool, else the first word of the action, (message) or (plan)",
    ("action_score", "n"): "steps that changed the score; one with several calls is shared among them",
    ("action_score", "total"): "what they changed, in sum",
    ("step", "state_hash"): "names what was seen after the step: equal for equal states",
    ("step", "tokens"): "how many tokens the step wrote",
    ("trajectory", "state_hash"): "names what was seen first",
    ("tool_call", "position"): "from 0, in the model's order",
    ("trajectory", "meta"): "anything else, as JSON",
    ("v_score", "scorer"): "its name; a name may have several versions (`digest`)",
    ("v_trajectory", "meta"): "anything else, as JSON",
    ("v_step", "given_reward"): "what the learner was paid: the world's own reward where nothing stood between",
}
PLAIN = {"id", "name", "key"}
HEAD = """# Schema

Made from the tables and views by `docs/make_schema.py`. For reading, take the views: ids are text there, times ISO 8601
(on PostgreSQL timestamps), names are words. In tables, times are microseconds since 1970 (UTC). From the shell, ask
with `agentprm credit sql URL "SELECT …"`, from Python with `agentprm.credit.sql(store, …)`; neither can write.

# Views
"""
TABLES = """# Tables

Texts from 256 bytes on stand in `blob`, once; a text column keeps their first 100 characters. In JSON columns
`{"$text": "<hash>"}` stands for a long value.

A beginner needs four: `trajectory`, `step`, `scorer`, `score`. Facts are append-only; scores, labels and outcomes are
opinions of a named source and never overwrite one another.
"""


def means(table: str, column: str) -> str:
    """Return what a column holds; raises KeyError for one that nobody described."""
    if column in PLAIN or (column.endswith("_id") and column not in MEANS):
        return ""
    return OWN.get((table, column)) or MEANS[column]


def page() -> str:
    views = [line for name, columns in columns_of_views().items() for line in view(name, columns)]
    tables = [line for name in WHAT for line in section(metadata.tables[name])]
    return "\n".join([HEAD, *views, TABLES, *tables])


def columns_of_views() -> dict[str, list[str]]:
    with Store(":memory:") as store, store.connection() as connection:
        look = sa.inspect(connection)
        return {name: [column["name"] for column in look.get_columns(name)] for name in VIEWS}


def view(name: str, columns: list[str]) -> list[str]:
    rows = [f"| `{column}` | {means(name, column)} |" for column in columns]
    return [f"## {name}", "", VIEWS[name], "", "| column | |", "|---|---|", *rows, ""]


def section(table: sa.Table) -> list[str]:
    keys = ", ".join(column.name for column in table.primary_key)
    lines = [f"## {table.name}", "", f"{WHAT[table.name]} Key: ({keys}).", ""]
    rows = [row(table, column) for column in table.columns]
    lines += ["| column | SQLite | PostgreSQL | |", "|---|---|---|---|", *rows, ""]
    indexes = sorted(", ".join(column.name for column in index.columns) for index in table.indexes)
    return [*lines, f"Indexed: {'; '.join(f'({index})' for index in indexes)}.", ""] if indexes else lines


def spelled(column: sa.Column, dialect: sa.Dialect) -> str:
    return column.type.compile(dialect=dialect).lower()


def row(table: sa.Table, column: sa.Column) -> str:
    points = f"→ {next(iter(column.foreign_keys)).target_fullname}" if column.foreign_keys else ""
    words = "" if points else means(table.name, column.name)
    remarks = "; ".join(filter(None, (words, "may be NULL" if column.nullable else "", points)))
    kinds = (spelled(column, sqlite.dialect()), spelled(column, postgresql.dialect()))
    return f"| `{column.name}` | {kinds[0]} | {kinds[1]} | {remarks} |"


if __name__ == "__main__":
    Path(__file__).with_name("schema.md").write_text(page(), encoding="utf-8")
