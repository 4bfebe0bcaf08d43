"""A real agent, better by its own record: record its runs, learn what each turn was worth, let the best of four run.

The agent is real (create_agent), so are its tools (search in files, a database, a calculator) and its questions, 420 of
them, answered in four to eight steps. Its model is made of rules that err as models of weights do, so that this runs
offline; name a local model (a Hugging Face folder with a chat template) and nothing else changes. The held-out
questions are about a shop that shares no customer, product or complaint with the one that was learnt from.

python examples/10_agent_lift.py [runs.db] [episodes] [questions] [local model]        a minute on one core
"""

import sys
import tempfile
from statistics import mean, variance

from langchain.agents import create_agent

from agentprm import PRMCallbackHandler, PRMMiddleware, Recipe, Store, fit
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import mean_interval, wilson
from agentprm.progress import progress_bar
from agentprm.scorers.delexicalised import Delexicalised
from agentprm.train.batches import Labelled
from agentprm_envs.desk_agent import ClerkModel, grader, is_right, make_tasks, tools_of
from agentprm_envs.desk_clerk import Clerk


def chat_model(local, seed):
    if local is None:
        return ClerkModel(clerk=Clerk(error_rate=0.4, seed=seed))
    from agentprm_envs.local_chat import LocalChatModel

    return LocalChatModel.from_pretrained(local, seed=seed)


def run(model, tools, tasks, middleware=(), handler=None):
    """Return, for each task, whether the agent's answer was right."""
    agent, right = create_agent(model, tools, middleware=middleware, name="clerk"), []
    with progress_bar("questions", len(tasks)) as advance:
        for task in tasks:
            config = {"callbacks": [handler] if handler else [], "metadata": {"task_id": task.key}}
            answer = agent.invoke({"messages": [("user", task.question)]}, config)["messages"][-1].text
            right.append(is_right(task, answer))
            advance(1, "")
    return right


def main(path, episodes=420, questions=210, local=None):
    train, test = make_tasks("train"), make_tasks("test", world=1)[: int(questions)]
    practice = [train[i % len(train)] for i in range(int(episodes))]
    with Store(path) as store:
        handler = PRMCallbackHandler(store, outcome=grader(train))
        run(chat_model(local, seed=0), tools_of("train"), practice, handler=handler)
        handler.flush()
        played = list(store.trajectories(ended=True))
    print(f"{len(played)} runs recorded in {path}, {mean(t.outcome or 0.0 for t in played):.0%} right")

    model = Delexicalised()
    recipe = Recipe(min_steps=50, evaluate_every=10, weight_decay=0.3)
    print(fit(model, Labelled(played, Temporal(model)), recipe))

    tools = tools_of("test", world=1)
    alone = run(chat_model(local, seed=1), tools, test)
    chosen = run(chat_model(local, seed=1), tools, test, [PRMMiddleware(model, n=4)])
    print(f"\n{len(test)} questions about another shop")
    for name, right in (("the agent alone", alone), ("the best of 4 at every turn", chosen)):
        low, high = wilson(sum(right), len(right))
        print(f"  {name:28}{mean(right):.0%} right ({low:.0%} to {high:.0%})")
    gains = [int(b) - int(a) for a, b in zip(alone, chosen, strict=True)]
    low, high = mean_interval(mean(gains), variance(gains) / len(gains))
    print(f"  lift                        {mean(gains):+.0%} ({low:+.0%} to {high:+.0%}, paired, 95 %)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(*sys.argv[1:] or [f"{folder}/runs.db"])
