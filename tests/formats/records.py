"""Small records as other people write them, by the field names of their documentation."""

import base64
import json

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
TOOL = {"type": "function", "function": {"name": "search", "description": "Look up.", "parameters": {"type": "object"}}}


def called(key, name="search", arguments='{"q": "x"}'):
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(key, content, **more):
    return {"role": "tool", "tool_call_id": key, "content": content, **more}


PLAIN = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The capital of Peru?"},
        {"role": "assistant", "content": None, "tool_calls": [called("a"), called("b", arguments="not {json")]},
        answer("a", "Lima"),
        answer("b", "bad arguments"),
        {"role": "assistant", "content": "Lima."},
    ],
    "tools": [TOOL],
}

ODD = {
    "id": "conv-7",
    "model": "gpt-x",
    "system": "a key of somebody else's",
    "openai": {"messages": "too"},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}], "name": "boss"},
        {"role": "system", "content": "And brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What is this? "},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        },
        {"role": "assistant", "content": "", "reasoning_content": "hm", "refusal": None, "annotations": [],
         "tool_calls": [called("a", arguments='{"q":"x"}'), called("a", arguments="[1, 2]"),
                        called("c", arguments='"s"')]},
        answer("c", [{"type": "text", "text": "third "}, {"type": "text", "text": "first"}], name="search"),
        {"role": "user", "content": "are you there?"},
        answer("a", "one"),
        answer("zzz", "an answer to nothing"),
        answer("a", {"weird": 1} and "two"),
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "A dot."}]},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
        {"role": "function", "name": "old", "content": "legacy"},
        {"role": "assistant", "content": "done", "tool_calls": [called("never")], "audio": {"id": "x"}},
        {"role": "user", "content": "bye \ud800\x00"},
    ],
}  # fmt: skip

PICTURE = {
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ]},
        {"role": "assistant", "content": "A dot.", "reasoning_content": "small"},
    ]
}  # fmt: skip

AGENT_BENCH = {
    "total_index": 3, "query_index": 1, "sample_index": 0, "question": "The capital of Peru?", "data_source": "hotpot",
    "ground_truth": {"target": ["Lima"]}, "answer_text": "Lima", "messages": PLAIN["messages"], "tool_metrics": {},
    "tools": [TOOL], "step_labels": {"2": 0, "5": 1}, "final_label": 1,
}  # fmt: skip

LOG = {
    "is_correct": False, "question": "How many?", "question_ID": "q1", "level": "2", "ground_truth": "8",
    "history": [
        {"content": "a plan", "role": "assistant", "name": "Planner"},
        {"content": "print(4)", "role": "user", "name": "Coder"},
        {"content": "exitcode: 0\n4", "role": "user", "name": "Computer_terminal"},
        {"content": "It is 4.", "role": "user", "name": "Checker"},
        {"content": "bye", "role": "user", "name": "Computer_terminal"},
    ],
    "mistake_agent": "Coder", "mistake_step": "1", "mistake_reason": "no filter", "system_prompt": {"Coder": "code"},
    "file": "1.json",
}  # fmt: skip


def rated(text, rating, flagged=False):
    return {"text": text, "rating": rating, "flagged": flagged}


SOLUTION = {
    "labeler": "l1", "timestamp": "2022-07-17T16:56:51.323252", "generation": None,
    "is_quality_control_question": False, "is_initial_screening_question": False,
    "question": {"problem": "2 + 2 * 3?", "ground_truth_solution": "8", "ground_truth_answer": "8"},
    "label": {
        "steps": [
            {"completions": [rated("2 * 3 = 6", 1)], "human_completion": None, "chosen_completion": 0},
            {"completions": [rated("6 + 3 = 9", -1), rated("I like six", 0), rated("then?", None)],
             "human_completion": None, "chosen_completion": 1},
            {"completions": [rated("9", -1)], "human_completion": {"text": "2 + 6 = 8"}, "chosen_completion": None},
        ],
        "total_time": 1000, "finish_reason": "solution",
    },
}  # fmt: skip

SHEPHERD = {
    "input": "Ann has 2 eggs. How many? Step 1: Count them. ки\nStep 2: The answer is: 3 ки",
    "label": "Ann has 2 eggs. How many? Step 1: Count them. +\nStep 2: The answer is: 3 -",
    "task": "GSM8K",
}

PROCESS = {
    "id": "gsm8k-0", "generator": "some-model", "problem": "2 + 2?", "steps": ["two and two", "is five", "5"],
    "final_answer_correct": False, "label": 1,
}  # fmt: skip

STEPWISE = {
    "prompt": "Which is larger, 9.8 or 9.11?",
    "completions": ["9.8 is 9.80.", "So 9.11."],
    "labels": [True, False],
}


def copy(record):
    return json.loads(json.dumps(record))
