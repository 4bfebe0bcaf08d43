"""The high-level actions of a BabyAI agent: which it has, what they do, and why it has not some other."""

from agentprm_envs.babyai_paths import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, Path, shortest_paths
from agentprm_envs.babyai_view import Cell, Thing, View

__all__ = ["CHECK", "NOTHING_CHANGES", "Menu", "canonical", "menu", "refusal"]

Menu = dict[str, Path]
"""Each available action, as it is worded, and the low-level actions that it stands for."""

CHECK = "check available actions"
NOTHING_CHANGES = "No change in state."
_PORTABLE = ("key", "ball", "box")


def canonical(action: str) -> str:
    r"""Return an action as the menu words it: lower case, single spaces, ``pickup`` in one word.

    >>> canonical("  Pick  up RED ball 1\n")
    'pickup red ball 1'
    """
    words = " ".join(action.lower().split())
    return "pickup" + words.removeprefix("pick up") if words.startswith("pick up") else words


def menu(view: View, carrying: Cell | None) -> Menu:
    """Return the available actions, in AgentGym's order: moves, pickups, drop, doors, toggle, goal, go to, check."""
    things = view.things
    faced, entered = shortest_paths(
        view.size, view.free, [thing.spot for thing in things], [thing.spot for thing in things if _enterable(thing)]
    )
    actions: Menu = {"turn left": (LEFT,), "turn right": (RIGHT,)}
    if view.barrier is None or view.barrier[1] > 1:
        actions["move forward"] = (FORWARD,)
    if carrying is None:
        found = (thing for thing in things if thing.kind in _PORTABLE and thing.spot in faced)
        actions |= {f"pickup {thing.label}": (*faced[thing.spot], PICKUP) for thing in found}
    elif view.ahead is None:
        actions["drop"] = (DROP,)
    actions |= _through_doors(things, carrying, faced, entered)
    if any(_can_toggle(thing, carrying) and faced.get(thing.spot) == () for thing in things):
        actions["toggle"] = (TOGGLE,)
    goals = [thing for thing in things if thing.kind == "goal" and thing.spot in entered]
    if goals:
        actions["go to goal"] = entered[goals[-1].spot]
    for thing in things:
        if thing.kind != "goal" and thing.spot in faced:
            actions[f"go to {thing.label}"] = faced[thing.spot]
    actions[CHECK] = ()
    return actions


def _through_doors(
    things: list[Thing], carrying: Cell | None, faced: dict[int, Path], entered: dict[int, Path]
) -> Menu:
    actions: Menu = {}
    for thing in things:
        if thing.kind == "door" and thing.state == "open" and thing.spot in entered:
            actions[f"go through {thing.label}"] = entered[thing.spot]
        elif thing.kind == "door" and thing.spot in faced and _can_toggle(thing, carrying):
            actions[f"toggle and go through {thing.label}"] = (*faced[thing.spot], TOGGLE, FORWARD)
    return actions


def _enterable(thing: Thing) -> bool:
    return thing.kind == "goal" or thing.state == "open"


def _can_toggle(thing: Thing, carrying: Cell | None) -> bool:
    if thing.state == "locked":
        return carrying is not None and carrying.type == "key" and carrying.color == thing.color
    return thing.kind == "box" or thing.state == "closed"


def refusal(action: str, view: View, carrying: Cell | None) -> str:
    """Return AgentGym's answer to a canonical action that is not on the menu."""
    if action == "":
        return NOTHING_CHANGES
    if action == "move forward":
        return "There is a barrier in front of you, you can't move forward."
    if action == "drop":
        reason = "there is already an object in front of you" if carrying else "you are not carrying anything"
        return f"You cannot drop the object, as {reason}."
    if action == "go to goal" and any(thing.kind == "goal" for thing in view.things):
        return "You cannot go to the goal, as there is no path leading to it."
    for thing in view.things:
        why = _hindrances(thing, carrying).get(action.removesuffix(thing.label).rstrip())
        if why and action.endswith(f" {thing.label}"):
            return f"You cannot {action}, as {why}"
    return "The action is not recognized. Please check valid actions."


def _hindrances(thing: Thing, carrying: Cell | None) -> dict[str, str]:
    """Why each thing that one may want to do with an object is not on the menu, as far as it is ever explained."""
    no_path = "there is no path leading to it."
    why = {} if thing.kind == "goal" else {"go to": no_path}
    if thing.kind in _PORTABLE and carrying is None:
        why["pickup"] = no_path
    if thing.kind == "door":
        why["go through" if thing.state == "open" else "toggle and go through"] = no_path
    if thing.state == "closed":
        why["go through"] = "it is closed. You should toggle it first."
    if thing.state == "locked" and (carrying is None or carrying.type != "key"):
        why["toggle and go through"] = "you are not carrying a key."
    elif thing.state == "locked" and carrying is not None and carrying.color != thing.color:
        why["toggle and go through"] = "the color of the key you are carrying does not match the color of door."
    return why
