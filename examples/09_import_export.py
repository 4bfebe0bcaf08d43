"""Conversations from elsewhere into the store, and out again, in the forms that other tools read.

python examples/09_import_export.py runs.db
"""

import json
import sys
import tempfile
from pathlib import Path

from agentprm import Scores, Spec, Store
from agentprm.formats import guess, read, write

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}


def conversation(question, query, found, answer):
    """A line as chat APIs and fine-tuning services have it."""
    call = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": json.dumps({"q": query})}}
    messages = [
        {"role": "system", "content": "Look things up before you answer."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": found},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": messages, "tools": [SEARCH]}


def main(url="runs.db"):
    folder = Path(tempfile.mkdtemp())
    theirs = folder / "conversations.jsonl"
    lines = [
        conversation("The capital of Peru?", "capital of Peru", "Lima is the capital.", "Lima."),
        conversation("The capital of Australia?", "largest city of Australia", "Sydney is the largest.", "Sydney."),
    ]
    theirs.write_text("".join(json.dumps(line) + "\n" for line in lines))

    print(f"conversations.jsonl is {guess(theirs)}")
    with Store(url) as store:
        trajectories = list(read(theirs))
        print(f"{store.add(trajectories)} trajectories imported, {store.add(read(theirs))} the second time")

        # What a person thinks of each step: the second search asked for the wrong thing.
        said = {"Lima.": (1.0, 1.0), "Sydney.": (0.0, 0.0)}
        labels = [
            Scores(t.id, Spec("me"), "correctness", said[t.steps[-1].action.text], notes=("search", "answer"))
            for t in trajectories
        ]
        store.add(labels)
        items = [item for pair in zip(trajectories, labels, strict=True) for item in pair]

    for form in ("openai_messages", "trl", "atif", "openinference", "jsonl"):
        path = folder / f"{form}.jsonl.gz"
        n = write(path, items, form)
        print(f"{form:16}{n} trajectories, {path.stat().st_size:5} bytes gzipped")

    exact = list(read(folder / "openai_messages.jsonl.gz"))
    print(f"read back equal, labels and all: {exact == items}")
    for row in read(folder / "trl.jsonl.gz"):
        print(row.values if isinstance(row, Scores) else [step.action.text for step in row.steps])


if __name__ == "__main__":
    main(*sys.argv[1:])
