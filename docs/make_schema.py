"""Write docs/schema.md from the tables: python docs/make_schema.py"""  # noqa: D415

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agentprm.store.tables import metadata

WHAT = {
    "trajectory": "One episode. `status` is NULL while it runs, or when it was killed.",
    "step": "One decision, narrow: what is scanned most.",
    "content": "What a step did and what it led to; row −1 holds the first observation. Native values are exact JSON.",
    "tool_call": "One call of a tool within a step, in the model's order.",
    "score": "One number: of a scorer's version, for a step. Labels and credits are scores too.",
    "score_note": "A rationale beside a score.",
    "scorer": "One version of a scorer: immutable, named by the digest of its recipe.",
    "shaping": "The recipe that turned scores into `given_reward`.",
    "outcome": "Opinions on how an episode went; the latest counts.",
    "label": "What people said of a step or an episode.",
    "task": "What was asked.",
    "policy": "Who acted.",
    "env": "Where.",
    "tool": "Names of tools.",
    "part": "Names of series within scores: `score`, `rollouts`, …",
    "blob": "Pictures, once per content.",
    "ingest": "Batches that were written, so that one written twice is noticed.",
    "meta": "Facts about the database itself.",
}


def spelled(column: sa.Column, dialect: sa.Dialect) -> str:
    return column.type.compile(dialect=dialect).lower()


HEAD = ["# Schema", "", "Made from the tables by `docs/make_schema.py`. Times are microseconds since 1970 (UTC).", ""]


def page() -> str:
    return "\n".join([*HEAD, *(line for name in WHAT for line in section(metadata.tables[name]))])


def section(table: sa.Table) -> list[str]:
    keys = ", ".join(column.name for column in table.primary_key)
    lines = [f"## {table.name}", "", f"{WHAT[table.name]} Key: ({keys}).", ""]
    lines += ["| column | SQLite | PostgreSQL | |", "|---|---|---|---|", *map(row, table.columns), ""]
    indexes = sorted(", ".join(column.name for column in index.columns) for index in table.indexes)
    return [*lines, f"Indexed: {'; '.join(f'({index})' for index in indexes)}.", ""] if indexes else lines


def row(column: sa.Column) -> str:
    points = f"→ {next(iter(column.foreign_keys)).target_fullname}" if column.foreign_keys else ""
    remarks = ", ".join(filter(None, ("may be NULL" if column.nullable else "", points)))
    kinds = (spelled(column, sqlite.dialect()), spelled(column, postgresql.dialect()))
    return f"| `{column.name}` | {kinds[0]} | {kinds[1]} | {remarks} |"


if __name__ == "__main__":
    Path(__file__).with_name("schema.md").write_text(page(), encoding="utf-8")
