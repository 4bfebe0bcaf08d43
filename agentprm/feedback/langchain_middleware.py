"""The middleware that lets a scorer choose among the turns that a LangChain agent might take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

from agentprm.errors import InvalidSpec, MissingExtra

try:
    from typing import NotRequired

    from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelResponse, hook_config
    from langchain.agents.middleware.internal_call_transformer import InternalCallTransformer
    from langchain.agents.middleware.types import PrivateStateAttr
    from langchain.chat_models import init_chat_model
    from langgraph.channels.untracked_value import UntrackedValue
    from langgraph.types import Command, interrupt
    from typing_extensions import TypedDict
except ModuleNotFoundError as error:
    raise MissingExtra("langchain", error.name or "langchain") from error

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentprm.feedback._middleware_calls import Request, Response, aask, answers, ask
from agentprm.feedback._middleware_rating import Rating
from agentprm.feedback._middleware_turn import Candidate, OnLow, Purse, Round, Rules, Turn, decide
from agentprm.feedback._middleware_words import farewell, question, read_answer, refusals, why
from agentprm.feedback.recording import bystander, record_this_run
from agentprm.record._langchain_choice import Choice, choices_of
from agentprm.record._langchain_failures import Failures
from agentprm.spec import as_action_scorer
from agentprm.store.store import Store
from agentprm.types import ActionScorer, Scorer, Spec

__all__ = ["PRMMiddleware"]

Result: TypeAlias = ExtendedModelResponse[Any]


class PRMMiddleware(AgentMiddleware[Any, Any, Any]):
    """Samples `n` candidates for every turn of an agent and lets the one run that `scorer` rates best.

    Pass it to ``create_agent(..., middleware=[...])``. What happens to a turn with tool calls whose best candidate is
    rated below `threshold` is `on_low`: ``retry`` asks up to `retries` times more, then stops; ``veto`` tells the model
    why its calls were not executed, up to `retries` times in a row, then stops; ``stop`` answers the calls and ends the
    run; ``interrupt`` asks a person (give the agent a checkpointer); ``escalate`` asks the model `stronger`, and takes
    the better of both. `budget` bounds the model calls of one run beyond the one that each turn takes anyway.

    The score of each turn is in ``message.response_metadata["prm"]``. Errors of the scorer are counted in `dropped`,
    logged once, and the first candidate is taken. Raises SightError for a scorer that needs to see what an action leads
    to, InvalidSpec for arguments that do not fit each other.

    >>> from langchain.agents import create_agent
    >>> from langchain_core.language_models import FakeListChatModel
    >>> middleware = PRMMiddleware("constant:value=0.5", n=2)
    >>> agent = create_agent(FakeListChatModel(responses=["Lima", "Quito"]), middleware=[middleware])
    >>> answer = agent.invoke({"messages": [("user", "The capital of Peru?")]})["messages"][-1]
    >>> answer.text, answer.response_metadata["prm"]["PRMMiddleware"]["candidates"]
    ('Lima', [0.5, 0.5])
    """

    transformers = (InternalCallTransformer,)

    def __new__(cls, *args: Any, on_low: OnLow = "retry", **kwargs: Any) -> PRMMiddleware:
        """Return one with a node of its own in the agent's graph only where a person is to be asked."""
        if on_low != "interrupt" or issubclass(cls, _Asking):
            return super().__new__(cls)
        return super().__new__(_Asking if cls is PRMMiddleware else type(cls.__name__, (cls, _Asking), {}))

    def __init__(
        self,
        scorer: Scorer | Spec | Mapping[str, Any] | str | Path,
        store: Any = None,
        *,
        n: int = 1,
        threshold: float | None = None,
        on_low: OnLow = "retry",
        retries: int = 2,
        stronger: Any = None,
        budget: int | None = None,
        name: str = "PRMMiddleware",
    ) -> None:
        super().__init__()
        _require(n, threshold, on_low, retries, stronger, budget)
        if not (isinstance(name, str) and name):
            raise InvalidSpec(f"a middleware's name is a text that tells it from others, not {name!r}")
        model = init_chat_model(stronger) if isinstance(stronger, str) else stronger
        self._failures, self._name = Failures(), name
        judge = as_action_scorer(scorer)
        _require_reachable(threshold, judge)
        self._rating = Rating(judge, self._failures)
        self._rules = Rules(n, threshold, on_low, retries, model)
        self._store = Store(store) if isinstance(store, (str, Path)) else store
        if store is not None:
            bystander()
        self._budget, self._spent = budget, f"prm_extra_calls_{name}"
        self.state_schema = _state(self._spent)

    @property
    def name(self) -> str:
        """What tells it from another one in the same agent."""
        return self._name

    @property
    def store(self) -> Any:
        """Where it records by itself; None for nowhere."""
        return self._store

    @property
    def dropped(self) -> int:
        """How often the scorer failed, or one of several candidates."""
        return sum(self.failures.values())

    @property
    def failures(self) -> Mapping[str, int]:
        """What failed, by kind."""
        return self._failures.counts

    def wrap_model_call(self, request: Request, handler: Callable[[Request], Response]) -> Result:
        """Return the turn to take."""
        purse, deciding = self._begin(request)
        requests, is_first = next(deciding), True
        while True:
            given = ask(requests, handler, quiet=not self._rules.is_plain)
            candidates = self._rated(request, given, is_first=is_first)
            try:
                requests, is_first = deciding.send(candidates), False
            except StopIteration as done:
                return self._result(done.value, purse)

    async def awrap_model_call(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Result:
        """Return the turn to take; candidates are asked for at once, the scorer off the event loop."""
        purse, deciding = self._begin(request)
        requests, is_first = next(deciding), True
        while True:
            given = await aask(requests, handler, quiet=not self._rules.is_plain)
            candidates = await asyncio.to_thread(self._rated, request, given, is_first=is_first)
            try:
                requests, is_first = deciding.send(candidates), False
            except StopIteration as done:
                return self._result(done.value, purse)

    def _rated(self, request: Request, given: Sequence[Response | BaseException], *, is_first: bool) -> list[Candidate]:
        return self._rating(request, answers(given, self._failures, is_first=is_first))

    def _begin(self, request: Request) -> tuple[Purse, Round]:
        if self._store is not None:
            self._failures.attempt("record", record_this_run, self._store)
        purse = Purse(_spent(request.state, self._spent), self._budget)
        n_vetoed = _vetoes(request.state["messages"], self._name)
        return purse, decide(self._rules, purse, request, n_vetoed=n_vetoed)

    def _result(self, turn: Turn, purse: Purse) -> Result:
        """Return what goes into the agent's state."""
        choice, best = self._choice(turn, purse), turn.best
        messages: list[BaseMessage] = [choice.on(m) if m is best.message else m for m in best.response.result]
        if turn.decision in ("vetoed", "stopped"):
            reason = why(best.score, self._rules.threshold)
            messages += refusals(best.pending, Choice(self._name, turn.decision), reason)
            messages += [farewell(reason)] if turn.decision == "stopped" else []
        spent: Command[Any] = Command(update={self._spent: purse.earlier + purse.spent})
        response = ModelResponse(messages, best.response.structured_response)
        return ExtendedModelResponse(response, spent if purse.spent else None)

    def _choice(self, turn: Turn, purse: Purse) -> Choice:
        scores = tuple(candidate.score for candidate in turn.offered)
        best, unit = turn.best, self._rating.scorer.unit
        return Choice(self._name, turn.decision, purse.spent, best.score, scores, best.source, unit)


class _Asking(PRMMiddleware):
    """One that asks a person about a low turn, in a node of its own: a resume repeats that node, and no model call."""

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Ask about the turn that was just taken, if it is low."""
        if self._store is not None:
            self._failures.attempt("record", record_this_run, self._store)
        message = next((m for m in reversed(state["messages"]) if isinstance(m, AIMessage)), None)
        noted = choices_of(message).get(self._name, {}) if message else {}
        if message is None or noted.get("decision") != "asked":
            return None
        answered = {m.tool_call_id for m in state["messages"] if isinstance(m, ToolMessage)}
        calls = [c for c in message.tool_calls if c["id"] not in answered]
        decision, words = read_answer(interrupt(question(calls, noted, self._rules.threshold)))
        if decision == "approve":
            return None
        reason = words or why(noted["score"], self._rules.threshold)
        if decision == "reject":
            return {"messages": refusals(calls, Choice(self._name, "vetoed"), reason)}
        messages = [*refusals(calls, Choice(self._name, "stopped"), reason), farewell(reason)]
        return {"messages": messages, "jump_to": "end"}

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Do the same; nothing in it takes time."""
        return self.after_model(state, runtime)


def _require(n: int, threshold: float | None, on_low: str, retries: int, stronger: Any, budget: int | None) -> None:
    """Return if the arguments fit each other; raises InvalidSpec."""
    for what, number, least in (("n", n, 1), ("retries", retries, 0), ("budget", 0 if budget is None else budget, 0)):
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise InvalidSpec(f"{what} is a whole number from {least} up, not {number!r}")
    if threshold is not None and not _is_finite(threshold):
        raise InvalidSpec(f"a threshold is a finite number or None, not {threshold!r}")
    if on_low not in get_args(OnLow):
        raise InvalidSpec(f"on_low is one of {', '.join(get_args(OnLow))}, not {on_low!r}")
    if (on_low == "escalate") != (stronger is not None):
        raise InvalidSpec("on_low='escalate' and stronger= go together: give both, or neither")


def _require_reachable(threshold: float | None, scorer: ActionScorer) -> None:
    """Return if a score can lie on either side of the threshold; raises InvalidSpec."""
    if threshold is not None and scorer.unit != "reward" and not 0 <= threshold <= 1:
        raise InvalidSpec(
            f"{scorer.spec.name} gives a {scorer.unit} in [0, 1], which a threshold of {threshold} never divides"
        )


def _is_finite(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)


def _state(spent: str) -> Any:
    """Return the agent's state with the calls spent in this run: private, and in no checkpoint."""
    kept = Annotated[int, UntrackedValue(int, guard=False), PrivateStateAttr]
    make: Any = TypedDict
    return make("State", {spent: NotRequired[kept]})


def _spent(state: Any, key: str) -> int:
    return int(state.get(key) or 0)


def _vetoes(messages: Sequence[BaseMessage], name: str) -> int:
    """Return how many of the last turns this middleware vetoed, in a row."""
    n = 0
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            continue
        if choices_of(message).get(name, {}).get("decision") != "vetoed":
            break
        n += 1
    return n
