"""What watching a LangChain agent costs: per event, over many threads, over many runs; and that it changes nothing.

python benchmarks/callbacks.py [--runs 60] [--repeats 7] [--many 1000] [--json]

A real agent (create_agent, two parallel tools per turn) with a model of rules is run with a handler that does nothing
(an empty BaseCallbackHandler), with ours recording into a file (`group` and `step`), with ours and a scorer, and with
LangSmith's tracer, whose client posts to nobody. Rows are interleaved and repeated; the table shows medians of the
processor time that each event adds to the empty handler.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_core.tracers import LangChainTracer
from langchain_core.utils.function_calling import convert_to_openai_tool
from langsmith import Client
from requests import Response, Session
from requests.adapters import BaseAdapter

from agentprm import PRMCallbackHandler, Store

TURNS = 5
KINDS = ("empty", "group", "step", "group, scored", "LangSmith")


class Rules(BaseChatModel):
    """Calls two tools a turn, then answers: a function of the messages."""

    @property
    def _llm_type(self):
        return "rules"

    def bind_tools(self, tools, **kwargs):
        """Take note of the tools, as a real model does."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools])

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        n = sum(isinstance(m, ToolMessage) for m in messages)
        if n >= 2 * TURNS:
            message = AIMessage(f"done: {messages[-1].text}")
        else:
            calls = [{"name": "double", "args": {"x": n + i}, "id": f"c{n + i}", "type": "tool_call"} for i in (0, 1)]
            message = AIMessage("let me see", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def double(x: int) -> int:
    """Double a number."""
    return 2 * x


AGENT = create_agent(Rules(), [double], system_prompt="Double what you are given.")


def ask(n=0):
    return {"messages": [("user", f"double number {n}")]}


class Counting(BaseCallbackHandler):
    """How many events of an agent's run a handler is told."""

    def __init__(self):
        self.n = 0

    def _count(self, *args, **kwargs):
        self.n += 1

    on_chain_start = on_chain_end = on_chat_model_start = on_llm_end = on_tool_start = on_tool_end = _count


class Nobody(BaseAdapter):
    """Takes every request and does nothing."""

    def send(self, request, **kwargs):
        """Say that all is well."""
        response = Response()
        response.status_code, response._content, response.request, response.url = 202, b"{}", request, request.url
        return response

    def close(self):
        """There is nothing to close."""


def tracer():
    session = Session()
    session.mount("http://localhost:1", Nobody())
    client = Client(api_url="http://localhost:1", api_key="none", session=session, auto_batch_tracing=True)
    return LangChainTracer(client=client), lambda: client.flush()


def handler(kind, folder):
    """A handler, and what says that it has done all its work."""
    if kind == "empty":
        return BaseCallbackHandler(), lambda: None
    if kind == "LangSmith":
        return tracer()
    durability, _, scored = kind.partition(", ")
    store = Store(folder / f"{time.monotonic_ns()}.db", durability=durability)
    ours = PRMCallbackHandler(store, "constant:value=0.5" if scored else None)
    return ours, ours.flush


def timed(watching, runs):
    """Seconds of processor time in all threads: unlike those of the clock, little changed by what else runs."""
    started = time.process_time()
    for n in range(runs):
        AGENT.invoke(ask(n), {"callbacks": [watching]})
    return time.process_time() - started


def per_event(runs, repeats, folder):
    counting = Counting()
    AGENT.invoke(ask(), {"callbacks": [counting]})
    pairs = {kind: handler(kind, folder) for kind in KINDS}
    for watching, _ in pairs.values():
        timed(watching, 3)
    found = {kind: [] for kind in KINDS}
    for _ in range(repeats):
        for kind, (watching, settle) in pairs.items():
            gc.collect()
            found[kind].append(timed(watching, runs) / runs / counting.n * 1e6)
            settle()
    empty = statistics.median(found["empty"])
    rows = [
        {"handler": kind, "added_us": statistics.median(all_) - empty, "total_us": statistics.median(all_),
         "min_us": min(all_), "max_us": max(all_)} for kind, all_ in found.items()
    ]  # fmt: skip
    return {"events_per_run": counting.n, "rows": rows}


def threads(n_threads, runs, folder):
    """Every step of every run exactly once."""
    with Store(folder / "threads.db", durability="group") as store:
        watching = PRMCallbackHandler(store, "constant:value=0.5")

        def work(k):
            for n in range(runs):
                AGENT.invoke(ask(k * runs + n), {"callbacks": [watching]})

        started = time.perf_counter()
        workers = [threading.Thread(target=work, args=(k,)) for k in range(n_threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        watching.flush()
        seconds = time.perf_counter() - started
        tasks = Counter((t.task.text, len(t), t.ending.status) for t in store.trajectories())
        expected = Counter((f"double number {n}", TURNS + 1, "completed") for n in range(n_threads * runs))
        n_scores = sum(v is not None for s in store.scores() for v in s.values)
        exact = tasks == expected and n_scores == n_threads * runs * (TURNS + 1)
        return {"threads": n_threads, "runs": n_threads * runs, "exactly_once": exact, "dropped": watching.dropped,
                "inflight": watching.inflight, "seconds": seconds}  # fmt: skip


def resident():
    """Mebibytes of memory in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(many, folder):
    """Mebibytes gained over many runs, after as many hundred to warm up."""
    with Store(folder / "growth.db", durability="group") as store:
        watching = PRMCallbackHandler(store, "constant:value=0.5")
        timed(watching, max(200, many // 5))
        watching.flush()
        gc.collect()
        before = resident()
        timed(watching, many)
        watching.flush()
        gc.collect()
        return {"runs": many, "mebibytes": resident() - before, "inflight": watching.inflight}


async def consume(stream):
    return [item async for item in stream]


def plain(value):
    """What a result says, without the ids that are drawn anew for every run."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("run_id", "parent_ids", "metadata")}
    if isinstance(value, tuple):
        return plain(value[0])
    return f"{type(value).__name__}: {value.content}" if hasattr(value, "content") else repr(value)


MODES = {
    "invoke": lambda c: AGENT.invoke(ask(), c),
    "ainvoke": lambda c: asyncio.run(AGENT.ainvoke(ask(), c)),
    # Tools run side by side: which of them is first differs from run to run.
    "stream(updates)": lambda c: sorted(map(str, plain(list(AGENT.stream(ask(), c, stream_mode="updates"))))),
    "stream(messages)": lambda c: sorted(map(str, plain(list(AGENT.stream(ask(), c, stream_mode="messages"))))),
    "astream(values)": lambda c: asyncio.run(consume(AGENT.astream(ask(), c, stream_mode="values"))),
    "astream_events": lambda c: sorted(
        e["event"]
        for e in asyncio.run(consume(AGENT.astream_events(ask(), c, version="v2")))
        if e["event"] != "on_custom_event"
    ),
    "batch": lambda c: AGENT.batch([ask(), ask(1)], c),
    "abatch": lambda c: asyncio.run(AGENT.abatch([ask(), ask(1)], c)),
}


def identical(folder):
    """In how many of the ways to call an agent its results are the same with and without us."""
    with Store(folder / "identical.db", durability="group") as store:
        watching = PRMCallbackHandler(store, "constant:value=0.5")
        return {mode: plain(run({})) == plain(run({"callbacks": [watching]})) for mode, run in MODES.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    names = ("agentprm", "langchain", "langchain-core", "langgraph", "langsmith")
    result = {"machine": {"python": platform.python_version(), **{name: version(name) for name in names}}}
    print(json.dumps(result["machine"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["cost"] = per_event(options.runs, options.repeats, folder)
        for row in result["cost"]["rows"]:
            print(f"{row['handler']:14} adds {row['added_us']:7.1f} µs per event   "
                  f"(all in all {row['total_us']:.1f}; {row['min_us']:.1f}–{row['max_us']:.1f})")  # fmt: skip
        result["threads"] = threads(16, 50, folder)
        print("16 threads:", result["threads"])
        result["growth"] = growth(options.many, folder)
        print("memory:", result["growth"])
        result["identical"] = identical(folder)
        print("same results:", result["identical"])
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
