"""The middleware: of several turns an agent might take, the best one runs; the scorer never gets in the way."""

import asyncio
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import BaseModel
from sampler import ASK, Likes, Sampler, Streaming, calc, call, noted, offers, said, soft

from agentprm import PRMCallbackHandler, PRMMiddleware
from agentprm.errors import InvalidSpec, SightError
from agentprm.types import Began, Scores, Spec, Stepped


def agent(middleware, *numbers, model=Sampler, tools=(calc,), **options):
    return create_agent(model(offer=offers(*numbers)), list(tools), middleware=[middleware], **options)


async def consume(stream):
    return [item async for item in stream]


def last(stream):
    return list(stream)[-1]


MODES = {
    "invoke": lambda a: a.invoke(ASK),
    "ainvoke": lambda a: asyncio.run(a.ainvoke(ASK)),
    "stream": lambda a: last(a.stream(ASK, stream_mode="values")),
    "astream": lambda a: asyncio.run(consume(a.astream(ASK, stream_mode="values")))[-1],
    "astream_events": lambda a: asyncio.run(consume(a.astream_events(ASK, version="v2")))[-1]["data"]["output"],
    "batch": lambda a: a.batch([ASK])[0],
    "abatch": lambda a: asyncio.run(a.abatch([ASK]))[0],
}


@pytest.mark.parametrize("mode", MODES)
def test_the_best_of_n_runs_however_the_agent_is_called(mode):
    result = MODES[mode](agent(PRMMiddleware(Likes(), n=3), 1, 3, 2))
    assert said(result) == ["human: double a good number", "ai: calc(3)", "tool: 6", "ai: done"]
    assert noted(result["messages"][1])["score"] == 0.3
    assert sorted(noted(result["messages"][1])["candidates"]) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("numbers", [(1, 3, 2), (3, 1, 2), (1, 2, 3)])
def test_where_the_best_one_stands_does_not_matter(numbers):
    result = agent(PRMMiddleware(Likes(), n=3), *numbers).invoke(ASK)
    assert result["messages"][1].tool_calls[0]["args"] == {"x": 3}


def test_of_equals_the_one_given_most_often_wins_then_the_first():
    @dataclass
    class Even(Likes):
        def values(self, trajectory):
            return tuple(0.5 for _ in trajectory.steps)

    assert said(agent(PRMMiddleware(Even(), n=3), 1, 2, 2).invoke(ASK))[1] == "ai: calc(2)"
    assert said(agent(PRMMiddleware(Even(), n=3), 3, 2, 1).invoke(ASK))[1] == "ai: calc(3)"


def test_no_opinion_comes_last_and_is_never_low():
    @dataclass
    class Shy(Likes):
        def values(self, trajectory):
            return tuple(None if s.action.tool_calls and s.action.tool_calls[0].arguments["x"] > 1 else 0.1
                         for s in trajectory.steps)  # fmt: skip

    assert said(agent(PRMMiddleware(Shy(), n=2), 2, 1).invoke(ASK))[1] == "ai: calc(1)"
    result = agent(PRMMiddleware(Shy(), n=2, threshold=0.05, on_low="stop"), 2, 3).invoke(ASK)
    assert said(result)[1:] == ["ai: calc(2)", "tool: 4", "ai: done"]


def test_the_scorer_is_asked_once_about_all_different_candidates():
    scorer = Likes()
    agent(PRMMiddleware(scorer, n=4), 1, 2, 1, 2).invoke(ASK)
    assert [[t.steps[-1].action.kind for t in shown] for shown in scorer.shown] == [["tool", "tool"], ["message"]]


def test_one_candidate_and_no_threshold_only_notes_the_score():
    model = Sampler(offer=offers(7))
    result = create_agent(model, [calc], middleware=[PRMMiddleware(Likes())]).invoke(ASK)
    assert [noted(m)["score"] for m in result["messages"] if isinstance(m, AIMessage)] == [0.7, 0.5]
    assert model.n_asked == 2


def test_in_async_candidates_are_asked_for_at_once():
    arrived = []

    class Meeting(Sampler):
        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            arrived.append(len(messages))
            async with asyncio.timeout(5):
                while len(arrived) < 3:
                    await asyncio.sleep(0)
            return self._generate(messages)

    result = asyncio.run(agent(PRMMiddleware(Likes(), n=3), 1, 3, 2, model=Meeting).ainvoke(ASK))
    assert said(result)[1] == "ai: calc(3)"


def test_in_async_the_scorer_does_not_hold_up_the_event_loop():
    going_on = threading.Event()

    @dataclass
    class Slow(Likes):
        def __call__(self, trajectories, /):
            assert going_on.wait(5), "the event loop stood still"
            return super().__call__(trajectories)

    async def main():
        running = asyncio.create_task(agent(middleware, 1).ainvoke(ASK))
        await asyncio.sleep(0.05)
        going_on.set()
        return await running

    middleware = PRMMiddleware(Slow())
    assert noted(asyncio.run(main())["messages"][1])["score"] == 0.1
    assert middleware.dropped == 0


# --- what goes wrong


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_when_the_scorer_fails_the_first_candidate_is_taken(mode, caplog):
    middleware = PRMMiddleware(Likes(fails=True), n=3, threshold=0.9, on_low="stop")
    result = MODES[mode](agent(middleware, 2, 2, 2))
    assert said(result)[1:] == ["ai: calc(2)", "tool: 4", "ai: done"]
    assert (middleware.dropped, dict(middleware.failures), len(caplog.records)) == (2, {"score": 2}, 1)
    assert noted(result["messages"][1])["scorer"] is None


def test_the_first_candidate_is_taken_whatever_the_others_say_more_often():
    assert said(agent(PRMMiddleware(Likes(fails=True), n=3), 1, 2, 2).invoke(ASK))[1] == "ai: calc(1)"


@dataclass
class Broken(Likes):
    how: str = ""

    def __call__(self, trajectories, /):
        scores = super().__call__(trajectories)
        if self.how == "too few":
            return scores[1:]
        if self.how == "too short":
            return [Scores(s.trajectory_id, s.source, "value", (), sees="action") for s in scores]
        return [Scores(s.trajectory_id, Spec("x", {"a": object()}), "value", s.values, sees="action") for s in scores]


@pytest.mark.parametrize("how", ["too few", "too short", "no JSON"])
def test_a_scorer_whose_answer_is_none_has_failed(how):
    middleware = PRMMiddleware(Broken(how=how), n=2)
    assert said(agent(middleware, 1, 2).invoke(ASK))[1] == "ai: calc(1)"
    assert middleware.failures == {"score": 2}


def failing_at(*turns):
    def offer(messages, k):
        if len(messages) == 1 and k in turns:
            raise ConnectionError(f"call {k}")
        return offers(1, 2, 3)(messages, k)

    return Sampler(offer=offer)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_a_candidate_that_fails_is_none_unless_all_do(mode):
    good = create_agent(failing_at(0, 1), [calc], middleware=[PRMMiddleware(Likes(), n=3)])
    assert said(MODES[mode](good))[1] == "ai: calc(3)"
    bad = create_agent(failing_at(0, 1, 2), [calc], middleware=[PRMMiddleware(Likes(), n=3)])
    with pytest.raises(ConnectionError, match="call 0"):
        MODES[mode](bad)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_control_flow_of_the_graph_is_no_failed_candidate(mode):
    asked = []

    class Asks(AgentMiddleware):
        """Ask a person about the second candidate only."""

        def wrap_model_call(self, request, handler):
            asked.append(1)
            return handler(request) if len(asked) % 2 or interrupt("may I?") else None

        async def awrap_model_call(self, request, handler):
            asked.append(1)
            return await handler(request) if len(asked) % 2 or interrupt("may I?") else None

    def build():
        return create_agent(Sampler(offer=offers(1)), [calc], middleware=[PRMMiddleware(Likes(), n=2), Asks()])

    assert MODES[mode](build())["__interrupt__"][0].value == "may I?"


def test_a_cancelled_run_stops_asking():
    class Sleeping(Sampler):
        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            began.append(1)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.append(1)
                raise

    async def main():
        running = asyncio.create_task(agent(PRMMiddleware(Likes(), n=3), 1, model=Sleeping).ainvoke(ASK))
        async with asyncio.timeout(30):
            while len(began) < 3:
                await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert len(asyncio.all_tasks()) == 1

    began, stopped = [], []
    asyncio.run(main())
    assert len(stopped) == 3


def test_a_scorer_that_must_see_the_result_is_refused_by_name():
    @dataclass
    class Late(Likes):
        sees = "result"

    with pytest.raises(SightError, match="likes sees the result"):
        PRMMiddleware(Late())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "from 1 up, not 0"),
        ({"threshold": float("nan")}, "finite"),
        ({"on_low": "panic"}, "retry, veto, stop, interrupt, escalate"),
        ({"on_low": "escalate"}, "stronger="),
        ({"stronger": Sampler(offer=offers(1))}, "stronger="),
        ({"budget": -1}, "from 0 up, not -1"),
        ({"retries": -1}, "from 0 up, not -1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InvalidSpec, match=message):
        PRMMiddleware("constant:value=0.5", **arguments)


def test_without_langchain_the_way_out_is_named():
    code = "import sys; sys.modules['langchain'] = None; from agentprm import PRMMiddleware"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'agentprm[langchain]'" in done.stderr.splitlines()[-1]


# --- what the user sees of it


def test_candidates_do_not_appear_in_the_message_stream():
    model = Streaming(offer=lambda messages, k: offers(1, 2, answer=f"done{k}")(messages, k))
    graph = create_agent(model, [calc], middleware=[PRMMiddleware(Likes(), n=2)])
    streamed = [message for message, _ in graph.stream(ASK, stream_mode="messages")]
    assert [(m.type, m.text, [c["args"] for c in getattr(m, "tool_calls", ())]) for m in streamed] == [
        ("ai", "", [{"x": 2}]),
        ("tool", "4", []),
        ("ai", "done0", []),
    ]
    assert asyncio.run(consume(graph.astream(ASK, stream_mode="messages")))[-1][0].text == "done2"


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_candidates_do_not_appear_in_the_message_protocol():
    for n in (1, 2):
        graph = agent(PRMMiddleware(Likes(), n=n), 1, 2, model=Streaming)
        if not hasattr(graph, "stream_events"):
            pytest.skip("this langgraph has no such protocol")
        assert [str(message.text) for message in graph.stream_events(ASK, version="v3").messages] == ["", "done"]


def test_a_rejected_turn_does_not_appear_before_it_was_judged():
    model = Streaming(offer=offers(1))
    graph = create_agent(model, [calc], middleware=[PRMMiddleware(Likes(), threshold=0.2, on_low="stop")])
    streamed = [message for message, _ in graph.stream(ASK, stream_mode="messages")]
    assert [m.type for m in streamed] == ["ai", "tool", "ai"]
    assert not any(isinstance(m, AIMessageChunk) for m in streamed)


def test_with_one_candidate_and_no_threshold_words_are_streamed_as_ever():
    graph = agent(PRMMiddleware(Likes()), 1, model=Streaming)
    streamed = [message for message, _ in graph.stream(ASK, stream_mode="messages")]
    assert any(isinstance(m, AIMessageChunk) for m in streamed)


def test_events_show_which_calls_were_only_candidates():
    events = asyncio.run(consume(agent(PRMMiddleware(Likes(), n=2), 1, 2).astream_events(ASK, version="v2")))
    started = [e for e in events if e["event"] == "on_chat_model_start"]
    assert [("nostream" in e["tags"], "lc_internal_call" in e["metadata"]) for e in started] == [(True, True)] * 4


def test_its_own_state_is_private_and_in_no_checkpoint():
    saver = InMemorySaver()
    graph = agent(PRMMiddleware(Likes(), n=2), 1, 2, checkpointer=saver)
    thread = {"configurable": {"thread_id": "T"}}
    assert set(graph.invoke(ASK, thread)) == {"messages"}
    assert set(graph.get_state(thread).values) == {"messages"}
    assert noted(graph.get_state(thread).values["messages"][1])["decision"] == "taken"


def test_two_of_different_names_work_together():
    inner, outer = PRMMiddleware(Likes(), n=2, name="inner"), PRMMiddleware(Likes(), n=2, name="outer")
    model = Sampler(offer=offers(1, 2, 3, 4))
    result = create_agent(model, [calc], middleware=[outer, inner]).invoke(ASK)
    assert said(result)[1:] == ["ai: calc(4)", "tool: 8", "ai: done"]
    message = result["messages"][1]
    assert (noted(message, "inner")["candidates"], noted(message, "outer")["candidates"]) == ([0.3, 0.4], [0.2, 0.4])


class City(BaseModel):
    name: str


@pytest.mark.parametrize("on_low", ["retry", "veto", "stop"])
def test_structured_output_is_an_answer_that_is_given_as_it_is(on_low):
    def offer(messages, k):
        city = {"name": "City", "args": {"name": f"Lima {k}", "x": 0}, "id": f"s{k}", "type": "tool_call"}
        return AIMessage("", tool_calls=[city])

    middleware = PRMMiddleware(Likes(), n=2, threshold=0.5, on_low=on_low, retries=1)
    for tools in ([], [calc]):
        graph = create_agent(Sampler(offer=offer), tools, middleware=[middleware], response_format=ToolStrategy(City))
        result = graph.invoke(ASK)
        assert result["structured_response"] == City(name="Lima 0")
        assert [m.type for m in result["messages"]] == ["human", "ai", "tool"]


def test_among_several_structured_outputs_the_best_is_taken():
    def offer(messages, k):
        return AIMessage(
            "", tool_calls=[{"name": "City", "args": {"name": "Lima", "x": k}, "id": "s", "type": "tool_call"}]
        )

    graph = create_agent(
        Sampler(offer=offer), middleware=[PRMMiddleware(Likes(), n=3)], response_format=ToolStrategy(City)
    )
    result = graph.invoke(ASK)
    assert result["messages"][1].tool_calls[0]["args"]["x"] == 2
    assert result["structured_response"] == City(name="Lima")


# --- what the scorer sees


class Events(list):
    write = list.append


def whole(events):
    trajectory = next(e.trajectory for e in events if isinstance(e, Began))
    for event in events:
        if isinstance(event, Stepped) and event.trajectory_id == trajectory.id:
            trajectory = trajectory.append(event.step, event.result)
    return trajectory


def plain(trajectory):
    """All that a scorer can see, without what differs from run to run."""
    steps = [
        (s.observation, s.action, {k: v for k, v in s.info.items() if k not in ("latency", "model_calls")})
        for s in trajectory.steps
    ]
    meta = {k: v for k, v in trajectory.meta.items() if k in ("system", "tools")}
    return trajectory.task, steps, trajectory.last, meta


@tool
def shout(x: int) -> list:
    """Return blocks."""
    return [{"type": "text", "text": "a"}, {"type": "image", "url": "http://x/y.png"}]


def many_turns(messages, k):
    """Parallel calls, one that fails, one of a tool that is not there; then another turn; then the answer."""
    last = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage))
    n = sum(bool(getattr(m, "tool_calls", ())) for m in messages[last:])
    if n % 3 == 0:
        calls = [call(1, "calc", f"a{n}{k}"), call(2, "soft", f"b{n}{k}"), call(3, "gone", f"c{n}{k}")]
        return AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "first"}], tool_calls=calls)
    if n % 3 == 1:
        usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        return AIMessage("", tool_calls=[call(k, "shout", f"d{n}{k}")], usage_metadata=usage)
    return AIMessage("done")


INPUTS = {
    "one question": ASK,
    "a conversation": {"messages": [("user", "hi"), ("ai", "hello"), ("user", "double one")]},
    "a system message": {"messages": [("system", "be brief"), ("user", "double one")]},
    "a picture": {
        "messages": [HumanMessage([{"type": "text", "text": "what?"}, {"type": "image", "base64": "AAAA",
                                                                       "mime_type": "image/png"}])]
    },
}  # fmt: skip


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_scorer_sees_what_is_recorded_up_to_that_turn(inputs):
    scorer, events = Likes(), Events()
    graph = create_agent(
        Sampler(offer=many_turns),
        [calc, soft, shout],
        middleware=[PRMMiddleware(scorer, n=2)],
        system_prompt="you are careful",
    )
    graph.invoke(INPUTS[inputs], {"callbacks": [PRMCallbackHandler(events)]})
    recorded = whole(events)
    assert [len(shown) for shown in scorer.shown] == [1, 2, 1]
    for t, shown in enumerate(scorer.shown):
        assert plain(recorded.seen(t, "action")) in [plain(_without_ids(one, recorded, t)) for one in shown]
    assert [c.status for c in recorded.steps[0].action.tool_calls] == ["ok", "error", "rejected"]


def _without_ids(shown, recorded, t):
    """The same, its last calls under the ids of the candidate that was taken."""
    from dataclasses import replace

    calls = tuple(
        replace(mine, id=theirs.id)
        for mine, theirs in zip(shown.steps[t].action.tool_calls, recorded.steps[t].action.tool_calls, strict=True)
    )
    step = replace(shown.steps[t], action=replace(shown.steps[t].action, tool_calls=calls))
    return replace(shown, steps=(*shown.steps[:t], step))


def test_in_a_thread_the_scorer_sees_the_last_question_as_it_is_recorded():
    scorer, events = Likes(), Events()
    graph = create_agent(
        Sampler(offer=many_turns), [calc, soft, shout], middleware=[PRMMiddleware(scorer)], checkpointer=InMemorySaver()
    )
    thread = {"configurable": {"thread_id": "T"}}
    graph.invoke(ASK, thread)
    scorer.shown.clear()
    graph.invoke({"messages": [("user", "and now?")]}, {**thread, "callbacks": [PRMCallbackHandler(events)]})
    recorded = whole(events)
    assert [plain(shown[0]) for shown in scorer.shown] == [plain(recorded.seen(t, "action")) for t in range(3)]
    assert recorded.task.text == "and now?"


def test_the_scorer_of_an_agent_inside_a_tool_sees_that_agent():
    scorer = Likes()
    inner = agent(PRMMiddleware(scorer), 3)

    @tool
    def delegate(x: int) -> str:
        """Ask another agent."""
        return inner.invoke({"messages": [("user", f"double {x}")]})["messages"][-1].text

    def offer(messages, k):
        return (
            AIMessage("ok")
            if isinstance(messages[-1], ToolMessage)
            else AIMessage("", tool_calls=[call(5, "delegate")])
        )

    create_agent(Sampler(offer=offer), [delegate]).invoke(ASK)
    assert [shown[0].task.text for shown in scorer.shown] == ["double 5", "double 5"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 1.5}, "n is a whole number from 1 up, not 1.5"),
        ({"n": "2"}, "n is a whole number from 1 up, not '2'"),
        ({"n": True}, "n is a whole number from 1 up, not True"),
        ({"n": 2, "budget": 1.5}, "budget is a whole number from 0 up, not 1.5"),
        ({"retries": None}, "retries is a whole number from 0 up, not None"),
        ({"threshold": "0.3"}, "a threshold is a finite number or None, not '0.3'"),
        ({"threshold": True}, "a threshold is a finite number or None, not True"),
        ({"threshold": 5}, r"constant gives a value in \[0, 1\], which a threshold of 5 never divides"),
        ({"name": ""}, "a middleware's name is a text"),
        ({"name": None}, "a middleware's name is a text"),
    ],
    ids=range(10),
)
def test_nonsense_is_refused_before_any_agent_runs(options, match):
    with pytest.raises(InvalidSpec, match=match):
        PRMMiddleware("constant:value=0.5", **options)
