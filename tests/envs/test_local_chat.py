"""A local Hugging Face chat model: tiny random weights, through a real agent; whatever it says is recorded."""

import asyncio

import pytest
import torch
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from agentprm import PRMCallbackHandler, PRMMiddleware, Store
from agentprm.errors import InvalidSpec
from agentprm.text.tokens import train_tokenizer
from agentprm_envs.desk_agent import grader, make_tasks, tools_of
from agentprm_envs.local_chat import LocalChatModel
from agentprm_envs.local_chat_calls import as_messages, read_reply

TASK = make_tasks("test")[0]

# The form of Hermes and Qwen, in our own words.
TEMPLATE = """
{%- if tools %}<|im_start|>system
Tools:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call one as <tool_call>{"name": ..., "arguments": ...}</tool_call>.<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def tokenizer_of(text="<tool_call>{}</tool_call> the answer is 12"):
    tokenizer = train_tokenizer([text] * 3, vocab_size=320)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny(family="qwen2", context=1024, **options):
    tokenizer = tokenizer_of()
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
    }
    kinds = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config, model = kinds[family]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = model(config(**size, eos_token_id=tokenizer.eos_token_id))
    return LocalChatModel(model=made, tokenizer=tokenizer, **{"max_new_tokens": 12, "temperature": 1.0, **options})


class Scripted(LocalChatModel):
    """The same weights, but the tokens that come out are those of a text: a model that was taught to call tools."""

    script: list[str]

    def _write(self, prompt):
        text = self.script.pop(0) if self.script else "The answer is 7."
        super()._write(prompt)
        return self.tokenizer(text)["input_ids"]


def scripted(*script):
    model = tiny()
    return Scripted(model=model.model, tokenizer=model.tokenizer, max_new_tokens=2, script=list(script))


def ask(agent, handler=None):
    config = {"callbacks": [handler]} if handler else {}
    return agent.invoke({"messages": [("user", TASK.question)]}, config=config)


# End to end


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whatever_random_weights_say_is_recorded_and_nothing_raises(family, seed):
    with Store(":memory:") as store:
        handler = PRMCallbackHandler(store, outcome=grader([TASK]))
        ask(create_agent(tiny(family, seed=seed), tools_of("test")), handler)
        handler.flush()
        (trajectory,) = store.trajectories()
    assert handler.dropped == 0
    assert (trajectory.ending.status, trajectory.outcome) == ("completed", 0.0)
    assert trajectory.steps[0].info["tokens"]["output"] <= 12


def test_async_and_re_ranked_runs_go_through():
    middleware = PRMMiddleware("constant:value=0.5", n=2)
    agent = create_agent(tiny(), tools_of("test"), middleware=[middleware])
    answer = asyncio.run(agent.ainvoke({"messages": [("user", TASK.question)]}))["messages"][-1]
    assert len(answer.response_metadata["prm"]["PRMMiddleware"]["candidates"]) == 2
    assert middleware.dropped == 0


def test_calls_that_it_writes_are_run_and_their_results_are_read():
    model = scripted(
        'I count.\n<tool_call>\n{"name": "calculate", "arguments": {"expression": "2 * 3.5"}}\n</tool_call>',
        '<tool_call>{"name": "shell", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "calculate", "arguments": {"sum": 1}}</tool_call>',
    )
    with Store(":memory:") as store:
        handler = PRMCallbackHandler(store)
        messages = ask(create_agent(model, tools_of("test")), handler)["messages"]
        handler.flush()
        (trajectory,) = store.trajectories()
    assert messages[-1].text == "The answer is 7."
    calls = [call for step in trajectory.steps for call in step.action.tool_calls]
    assert [(c.name, c.status) for c in calls] == [("calculate", "ok"), ("shell", "rejected"), ("calculate", "error")]
    assert (calls[0].output, trajectory.steps[0].action.plan) == ("7", "I count.")
    assert len({call.id for call in calls}) == 3


def test_a_call_that_is_no_json_is_recorded_as_rejected():
    with Store(":memory:") as store:
        handler = PRMCallbackHandler(store)
        ask(create_agent(scripted('<tool_call>{"name": calc</tool_call>'), tools_of("test")), handler)
        handler.flush()
        (trajectory,) = store.trajectories()
    (call,) = trajectory.steps[0].action.tool_calls
    assert (call.status, call.arguments) == ("rejected", '{"name": calc')


# What it reads


def test_tools_calls_and_results_are_in_the_prompt():
    model, tools = tiny(context=8192), tools_of("test")
    call = {"name": "calculate", "args": {"expression": "6 * 7"}, "id": "1", "type": "tool_call"}
    messages = [SystemMessage("be brief"), HumanMessage("hi"), AIMessage("", tool_calls=[call])]
    bound = model.bind_tools(tools, tool_choice="any")
    text = model.tokenizer.decode(model.prompt([*messages, ToolMessage("42", tool_call_id="1")], bound.kwargs["tools"]))
    for part in ("search_files", "Look up the rows", "be brief", '<tool_call>{"name": "calculate"', "tool\n42", "hi"):
        assert part in text
    assert text.endswith("<|im_start|>assistant\n")
    assert "tool_choice" not in bound.kwargs


def test_of_a_long_conversation_the_earliest_turns_are_left_out_and_the_question_kept():
    turns = [m for i in range(40) for m in (AIMessage(f"turn {i} {'x y ' * 20}"), ToolMessage("ok", tool_call_id="1"))]
    text = tiny().tokenizer.decode(tiny().prompt([HumanMessage("the question"), *turns]))
    assert "the question" in text
    assert "turn 39 " in text
    assert "turn 0 " not in text


def test_a_question_that_does_not_fit_is_cut_at_the_front():
    model = tiny(max_new_tokens=24)
    ids = model.prompt([HumanMessage("word " * 3000 + "the last")])
    assert len(ids) == 1000
    assert "the last" in model.tokenizer.decode(ids)
    assert model.invoke("word " * 3000).usage_metadata["input_tokens"] == 1000


def test_messages_have_the_roles_of_chat_templates():
    roles = [m["role"] for m in as_messages([SystemMessage("s"), HumanMessage("h"), AIMessage("a")])]
    assert roles == ["system", "user", "assistant"]


# What it says


def test_fresh_models_of_one_seed_say_the_same_and_again_something_else():
    first, again = ([model.invoke("hi").text for _ in range(4)] for model in (tiny(seed=5), tiny(seed=5)))
    assert first == again
    assert len(set(first)) > 1
    assert [tiny(seed=6).invoke("hi").text] != first[:1]


def test_without_temperature_it_says_the_likeliest():
    model = tiny(temperature=0.0)
    assert model.invoke("hi").text == model.invoke("hi").text


def test_drawing_leaves_the_global_generator_alone():
    model, before = tiny(), torch.get_rng_state()
    model.invoke("hi")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_cache_changes_nothing():
    model = tiny(temperature=0.0)
    prompt = model.prompt([HumanMessage("hi")])
    written, ids = [], list(prompt)
    with torch.inference_mode():
        for _ in range(12):
            token = int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token in model._ends():
                break
            written.append(token)
            ids.append(token)
    assert model._write(prompt) == written


@pytest.mark.parametrize("as_list", [False, True])
def test_an_answer_ends_at_a_token_that_ends_answers(as_list):
    model = tiny(temperature=0.0)
    prompt = model.prompt([HumanMessage("hi")])
    third = model._write(prompt)[2]
    model.model.generation_config.eos_token_id = [third, 0] if as_list else third
    assert third not in model._write(prompt)
    assert len(model._write(prompt)) <= 2


def test_a_small_nucleus_is_the_likeliest_token():
    assert tiny(top_p=1e-6).invoke("hi").text == tiny(temperature=0.0).invoke("hi").text


def test_a_stop_word_ends_the_answer():
    assert scripted("one two three").invoke("hi", stop=[" two"]).text == "one"


def test_saved_weights_are_loaded_and_say_the_same(tmp_path):
    model = tiny()
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    again = LocalChatModel.from_pretrained(tmp_path, device="cpu", max_new_tokens=12, temperature=1.0)
    assert again.invoke("hi").text == model.invoke("hi").text


def test_a_tokenizer_without_a_chat_template_is_refused():
    model = tiny()
    model.tokenizer.chat_template = None
    with pytest.raises(InvalidSpec, match="no chat template"):
        LocalChatModel(model=model.model, tokenizer=model.tokenizer)


# How replies are read


@pytest.mark.parametrize(
    ("text", "words", "calls"),
    [
        ("hello", "hello", []),
        ("", "", []),
        ('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>', "", [("f", {"x": 1})]),
        ('a <tool_call>{"name": "f", "arguments": {}}</tool_call> b', "a  b", [("f", {})]),
        ('<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g"}</tool_call>', "", [("f", {}), ("g", {})]),
        ('<tool_call>{"name": "f", "arguments": {}}', "", [("f", {})]),
        ('<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>', "", [("f", {"x": 1})]),
        ('{"name": "f", "parameters": {"x": 1}}', "", [("f", {"x": 1})]),
        ('{"x": 1}', '{"x": 1}', []),
        ("</tool_call>", "</tool_call>", []),
        ("<think>hm</think>yes", "yes", []),
    ],
)
def test_calls_are_found_in_what_a_model_writes(text, words, calls):
    message = read_reply(text)
    assert (message.text, [(c["name"], c["args"]) for c in message.tool_calls]) == (words, calls)
    assert message.invalid_tool_calls == []


@pytest.mark.parametrize(
    "body", ["", "{", "[1]", "null", '{"name": 3}', '{"name": "f", "arguments": [1]}', "[" * 5000, '"text"', "7"]
)
def test_a_call_that_cannot_be_read_is_kept_as_invalid(body):
    message = read_reply(f"<tool_call>{body}</tool_call>")
    assert [call["args"] for call in message.invalid_tool_calls] == [body]
    assert message.tool_calls == []


def test_reasoning_is_kept_apart():
    assert read_reply("<think> easy </think>4").additional_kwargs == {"reasoning_content": "easy"}
