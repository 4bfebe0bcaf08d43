"""The desk in LangChain: real agents over real tools, whose model is a function of the messages."""

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agentprm import PRMCallbackHandler, PRMMiddleware, Store
from agentprm_envs.desk_agent import ClerkModel, grader, make_tasks, past_of, tools_of
from agentprm_envs.desk_clerk import Clerk

TASKS = make_tasks("test")


def agent_of(error_rate=0.3, seed=0, **options):
    return create_agent(ClerkModel(clerk=Clerk(error_rate, seed=seed)), tools_of("test"), name="clerk", **options)


def ask(task):
    return {"messages": [("user", task.question)]}


def said(outputs):
    return [(m.type, m.text, getattr(m, "tool_calls", None) or getattr(m, "status", None)) for m in outputs["messages"]]


def test_an_agent_without_slips_answers_everything():
    agent, grade = agent_of(0.0), grader(TASKS)
    assert {grade(agent.invoke(ask(task))) for task in TASKS[:14]} == {1.0}


def test_fresh_agents_say_the_same_and_other_seeds_something_else():
    one, two, three = ([said(agent_of(seed=s).invoke(ask(t))) for t in TASKS[:6]] for s in (0, 0, 1))
    assert one == two != three


def test_async_and_streamed_runs_say_the_same():
    for task in TASKS[:4]:
        expected = said(agent_of().invoke(ask(task)))
        assert said(asyncio.run(agent_of().ainvoke(ask(task)))) == expected
        *_, last = agent_of().stream(ask(task), stream_mode="values")
        assert said(last) == expected


def test_words_are_streamed_one_by_one_and_calls_whole():
    model = ClerkModel(clerk=Clerk(0.0))
    question = HumanMessage(TASKS[0].question)
    whole, streamed = model.invoke([question]), list(ClerkModel(clerk=Clerk(0.0)).stream([question]))
    merged = streamed[0]
    for chunk in streamed[1:]:
        merged += chunk
    assert merged.tool_calls == whole.tool_calls
    answers = list(ClerkModel(clerk=Clerk(0.0, patience=1)).stream([question]))
    assert "".join(chunk.text for chunk in answers) == "I could not find it out."
    assert sum(bool(chunk.text) for chunk in answers) == 6


def test_asked_again_it_gives_the_next_sample_and_each_can_be_asked_for():
    model, messages = ClerkModel(clerk=Clerk(0.5, habit=0.0)), [HumanMessage(TASKS[0].question)]
    drawn = [model.invoke(messages).tool_calls for _ in range(6)]
    again = [model.invoke(messages, sample=k).tool_calls for k in range(6)]
    assert drawn == again == [model.reply(messages, k).tool_calls for k in range(6)]
    assert len({str(calls) for calls in drawn}) > 1
    assert model.bind(sample=2).invoke(messages).tool_calls == drawn[2]


def test_it_remembers_no_more_than_so_many_conversations():
    model = ClerkModel(clerk=Clerk(0.0))
    for i in range(4_200):
        model._count([HumanMessage(str(i))])
    assert len(model._asked) == 4_096


def test_a_batch_answers_each_question():
    grade = grader(TASKS)
    assert [grade(outputs) for outputs in agent_of(0.0).batch([ask(task) for task in TASKS[:8]])] == [1.0] * 8


def test_what_a_tool_refuses_is_a_message_of_status_error():
    (search, read, lookup, calculate) = tools_of("test")
    call = {"name": "read_file", "args": {"path": "../../etc/passwd"}, "id": "1", "type": "tool_call"}
    message = read.invoke(call)
    assert (message.status, message.text[:12]) == ("error", "there is no ")
    assert calculate.invoke({"expression": "6 * 7"}) == "42"
    assert set(lookup.args) == {"table", "column", "value"}
    assert "every line" in search.description


def test_the_past_is_read_from_the_messages_alone():
    call = {"name": "calculate", "args": {"expression": "1"}, "id": "a", "type": "tool_call"}
    open_call = {**call, "id": "b"}
    messages = [HumanMessage("q"), AIMessage("", tool_calls=[call, open_call]), ToolMessage("1", tool_call_id="a")]
    question, past = past_of(messages)
    assert (question, [(d.call.name, d.output, d.ok) for d in past]) == ("q", [("calculate", "1", True)])
    assert past_of([]) == ("", [])


@pytest.mark.parametrize("outputs", [None, {}, {"messages": []}, "text", {"messages": [HumanMessage("who are you?")]}])
def test_runs_about_something_else_have_no_outcome(outputs):
    assert grader(TASKS)(outputs) is None


def test_runs_are_recorded_with_calls_outputs_and_outcome():
    with Store(":memory:") as store:
        handler = PRMCallbackHandler(store, outcome=grader(TASKS))
        agent = agent_of(0.4)
        for task in TASKS[:10]:
            agent.invoke(ask(task), config={"callbacks": [handler], "metadata": {"task_id": task.key}})
        handler.flush()
        played = list(store.trajectories())
    assert handler.dropped == 0
    assert [t.task.key for t in played] == [task.key for task in TASKS[:10]]
    assert {t.outcome for t in played} == {0.0, 1.0}
    for trajectory in played:
        assert all(c.output is not None for step in trajectory.steps for c in step.action.tool_calls)


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_the_middleware_chooses_among_samples_of_the_model(mode):
    middleware = PRMMiddleware("constant:value=0.5", n=5)
    agent = agent_of(0.5, middleware=[middleware])
    outputs = agent.invoke(ask(TASKS[0])) if mode == "invoke" else asyncio.run(agent.ainvoke(ask(TASKS[0])))
    assert middleware.dropped == 0
    turns = [m for m in outputs["messages"] if isinstance(m, AIMessage)]
    assert all(len(m.response_metadata["prm"]["PRMMiddleware"]["candidates"]) == 5 for m in turns)
