"""BabyAI as text: its words, its actions, its rewards, and that nothing about it is left to chance."""

import copy
import random
import subprocess
import sys
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, NameNotFound, ResetNeeded

pytest.importorskip("minigrid")

from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Goal, Key, Lava, Wall
from minigrid.envs.babyai.core.verifier import BeforeInstr

from agentprm.testing.env import EnvContract
from agentprm_envs import LEVELS
from agentprm_envs.babyai import BabyAIText
from agentprm_envs.babyai_menu import canonical, menu, refusal
from agentprm_envs.babyai_view import describe, look


class BabyAIContract(EnvContract):
    rounds = 20
    level = "UnlockPickup"

    def make_env(self):
        return gymnasium.make(f"agentprm_envs:BabyAIText/{self.level}-v0")


class TestUnlockPickup(BabyAIContract):
    pass


class TestPutNextLocal(BabyAIContract):
    level = "PutNextLocal"


class TestOpenDoorsOrder(BabyAIContract):
    level = "OpenDoorsOrderN4"


class TestSynthLoc(BabyAIContract):
    level = "SynthLoc"
    seeds = (2, 5)


class HandBuilt:
    """An 11x11 room whose agent stands at (5, 8) and looks up: it sees columns 2 to 8 of rows 2 to 8."""

    def __init__(self, **things):
        self.grid = Grid(11, 11)
        self.grid.wall_rect(0, 0, 11, 11)
        self.agent_pos, self.agent_dir, self.agent_view_size, self.carrying = (5, 8), 3, 7, None

    def put(self, ahead, right, thing):
        self.grid.set(5 + right, 8 - ahead, thing)
        return self

    def says(self):
        return describe(look(self), self.carrying)

    def menu(self):
        return menu(look(self), self.carrying)


HEADER = "In front of you in this room, you can see several objects: "
FOOTER = "The room has walls around you. You are not carrying anything."


def test_a_ball_two_ahead_and_one_right_is_said_to_be_there():
    room = HandBuilt().put(2, 1, Ball("red"))
    assert room.says() == (
        HEADER + "There is a red ball 1 2 steps in front of you and 1 steps to your right.  " + FOOTER
    )


def test_what_is_straight_ahead_is_right_in_front():
    room = HandBuilt().put(3, 0, Key("blue"))
    assert "There is a blue key 1 right in front of you 3 steps away.  " in room.says()


def test_what_is_beside_is_zero_steps_ahead():
    room = HandBuilt().put(0, -2, Box("grey"))
    assert "There is a grey box 1 0 steps in front of you and 2 steps to your left.  " in room.says()


@pytest.mark.parametrize(
    ("state", "door"), [("open", (True, False)), ("closed", (False, False)), ("locked", (False, True))]
)
def test_doors_say_their_state(state, door):
    room = HandBuilt().put(1, 1, Door("green", *door))
    assert f"There is a green {state} door 1 1 steps in front of you and 1 steps to your right.  " in room.says()


def test_namesakes_are_numbered_nearest_first_and_then_farther_row_first():
    room = HandBuilt().put(1, 1, Ball("red")).put(2, 0, Ball("red")).put(4, 0, Ball("red")).put(1, 0, Ball("blue"))
    said = [part.partition(".")[0] for part in room.says().split("There is a ")[1:]]
    assert said == [
        "blue ball 1 right in front of you 1 steps away",
        "red ball 1 right in front of you 2 steps away",
        "red ball 2 1 steps in front of you and 1 steps to your right",
        "red ball 3 right in front of you 4 steps away",
    ]


@pytest.mark.parametrize(("turns", "where"), [(0, "1 steps to your right"), (2, None)])
def test_sides_turn_with_the_agent(turns, where):
    room = HandBuilt().put(2, 1, Ball("red"))
    room.agent_dir = (room.agent_dir + turns) % 4
    assert (where in room.says()) if where else ("ball" not in room.says())


def test_looking_right_what_was_ahead_is_left():
    room = HandBuilt().put(2, 1, Ball("red"))
    room.agent_dir = 0
    assert "There is a red ball 1 1 steps in front of you and 2 steps to your left.  " in room.says()


@pytest.mark.parametrize(("thing", "name"), [(Wall(), "wall"), (Box("red"), "box")])
def test_the_nearest_wall_or_box_straight_ahead_is_faced(thing, name):
    room = HandBuilt().put(5, 0, Wall()).put(2, 0, thing).put(1, 0, Ball("red"))
    assert f"You are facing a {name} 2 steps away. You are" in room.says()


def test_without_anything_in_sight_not_even_a_wall_no_objects_are_seen():
    assert HandBuilt().says() == "You cannot see any objects within sight." + FOOTER


def test_with_walls_but_no_objects_the_list_is_empty():
    assert HandBuilt().put(5, 2, Wall()).says() == HEADER + FOOTER


def test_what_is_carried_is_said_and_not_seen():
    room = HandBuilt()
    room.carrying = Key("purple")
    assert room.says().endswith("You are carrying a purple key.")


def test_closed_doors_hide_what_is_behind_and_open_ones_do_not():
    room = HandBuilt().put(4, 0, Ball("red"))
    for right in range(-3, 4):
        room.put(2, right, Wall())
    assert "red ball" not in room.put(2, 0, Door("blue")).says()
    assert "red ball" in room.put(2, 0, Door("blue", is_open=True)).says()


@pytest.mark.parametrize("level", ["GoToObjMazeS4R2", "KeyCorridorS3R3", "BossLevel"])
def test_the_agent_sees_exactly_what_minigrid_says_it_sees(level):
    env, chance = BabyAIText(level, max_rounds=1000), random.Random(0)
    _, info = env.reset(seed=1)
    for _ in range(150):
        world, view = env._world, look(env._world)
        grid, lit = world.gen_obs_grid()
        size = view.size
        assert [[row >> i & 1 for i in range(size)] for row in view.lit] == lit.T.astype(int).tolist()
        ours = [type(cell).__name__.strip("_") if cell else None for cell in view.cells]
        theirs = [type(cell).__name__ if cell else None for cell in grid.grid]
        here = size * size - size // 2 - 1
        assert ours[:here] + ours[here + 1 :] == theirs[:here] + theirs[here + 1 :]
        _, _, terminated, _, info = env.step(chance.choice(info["actions"]))
        if terminated:
            _, info = env.reset()


def test_a_path_goes_around_what_is_in_the_way():
    room = HandBuilt().put(3, 0, Ball("red")).put(1, 0, Box("blue"))
    left, right, forward = 0, 1, 2
    path = room.menu()["go to red ball 1"]
    assert path == (left, forward, right, forward, forward, forward, right)


def test_a_pickup_is_the_path_and_then_the_hand():
    assert HandBuilt().put(3, 0, Ball("red")).menu()["pickup red ball 1"] == (2, 2, 3)


def test_a_closed_door_is_toggled_and_entered_and_an_open_one_entered():
    assert HandBuilt().put(2, 0, Door("red")).menu()["toggle and go through red closed door 1"] == (2, 5, 2)
    assert HandBuilt().put(2, 0, Door("red", is_open=True)).menu()["go through red open door 1"] == (2, 2)


def test_a_locked_door_needs_the_key_of_its_color():
    room = HandBuilt().put(1, 0, Door("red", is_locked=True))
    through = "toggle and go through red locked door 1"
    for carried, available in ((None, False), (Key("blue"), False), (Ball("red"), False), (Key("red"), True)):
        room.carrying = carried
        assert (through in room.menu()) is available
        assert ("toggle" in room.menu()) is available


def test_toggle_is_for_a_box_or_closed_door_right_ahead():
    assert "toggle" in HandBuilt().put(1, 0, Box("red")).menu()
    assert "toggle" in HandBuilt().put(1, 0, Door("red")).menu()
    assert "toggle" not in HandBuilt().put(2, 0, Box("red")).menu()
    assert "toggle" not in HandBuilt().put(1, 0, Door("red", is_open=True)).menu()


def test_full_hands_drop_and_empty_hands_pick_up():
    room = HandBuilt().put(2, 0, Ball("red"))
    assert "pickup red ball 1" in room.menu()
    assert "drop" not in room.menu()
    room.carrying = Key("red")
    assert "pickup red ball 1" not in room.menu()
    assert "drop" in room.menu()
    assert "drop" not in room.put(1, 0, Ball("blue")).menu()


def test_lava_is_named_and_walked_around_and_a_goal_walked_onto():
    actions = HandBuilt().put(2, 0, Lava()).put(3, 0, Goal()).menu()
    assert actions["go to goal"].count(2) == 5
    assert "go to green goal 1" not in actions


def test_the_menu_is_ordered_as_in_agentgym():
    room = HandBuilt().put(1, 0, Door("red")).put(2, 1, Ball("blue"))
    assert list(room.menu()) == [
        "turn left",
        "turn right",
        "move forward",
        "pickup blue ball 1",
        "toggle and go through red closed door 1",
        "toggle",
        "go to red closed door 1",
        "go to blue ball 1",
        "check available actions",
    ]


def test_refusals_say_why():
    room = HandBuilt().put(1, 0, Box("grey")).put(2, 1, Door("red", is_locked=True)).put(3, 1, Door("blue"))
    for door in (-1, 0, 1):
        room.put(5, door, Wall()).put(3, door - 2, Wall())
    room.put(4, -2, Ball("red"))
    for right in (-3, -2, -1):
        room.put(3, right, Lava())

    def why(action, carrying=None):
        return refusal(action, look(room), carrying)

    assert why("") == "No change in state."
    assert why("fly") == "The action is not recognized. Please check valid actions."
    assert why("move forward") == "There is a barrier in front of you, you can't move forward."
    assert why("drop") == "You cannot drop the object, as you are not carrying anything."
    assert why("drop", Key("red")) == "You cannot drop the object, as there is already an object in front of you."
    through = "toggle and go through red locked door 1"
    assert why(through) == f"You cannot {through}, as you are not carrying a key."
    assert why(through, Key("blue")).endswith("the key you are carrying does not match the color of door.")
    assert why("go through blue closed door 1").endswith("as it is closed. You should toggle it first.")
    assert why("pickup grey box 2") == "The action is not recognized. Please check valid actions."


def test_what_cannot_be_reached_is_refused_for_want_of_a_path():
    room = HandBuilt().put(4, 0, Ball("red"))
    for right in range(-3, 4):
        room.put(2, right, Key("grey"))
    assert "go to red ball 1" not in room.menu()
    assert refusal("go to red ball 1", look(room), None) == (
        "You cannot go to red ball 1, as there is no path leading to it."
    )
    assert refusal("pickup red ball 1", look(room), None).endswith("no path leading to it.")


@pytest.mark.parametrize("words", ["pickup red ball 1", "  Pick   UP red\tball 1\n", "PICKUP RED BALL 1"])
def test_actions_are_read_whatever_their_case_and_spaces(words):
    assert canonical(words) == "pickup red ball 1"


def test_an_episode_solved_by_hand():
    env = gymnasium.make("agentprm_envs:BabyAIText/UnlockPickup-v0")
    text, info = env.reset(seed=0)
    assert text == (
        "Your goal: pick up the purple box\n"
        "In front of you in this room, you can see several objects: There is a green key 1 0 steps in front of you and "
        "1 steps to your right.  The room has walls around you. You are facing a wall 3 steps away. "
        "You are not carrying anything.\n"
        'Available actions: ["turn left", "turn right", "move forward", "pickup green key 1", "go to green key 1", '
        '"check available actions"]'
    )
    assert (info["task"], info["task_id"]) == ("pick up the purple box", "BabyAI-UnlockPickup/0")
    for action in ("pick up green key 1", "toggle and go through green locked door 1", "move forward"):
        text, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated, info["valid"], info["success"]) == (0.0, False, False, True, False), text
    while "pickup purple box 1" not in info["actions"]:
        text, *_, info = env.step("drop" if "drop" in info["actions"] else "turn right")
    text, reward, terminated, truncated, info = env.step("Pick up purple box 1")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    assert "\n The task is completed.\nAvailable actions: [" in text


def test_invalid_actions_change_nothing_and_cost_a_round():
    env = BabyAIText("UnlockPickup", max_rounds=2)
    _, before = env.reset(seed=0)
    text, reward, terminated, truncated, info = env.step("fly away")
    assert text.startswith("The action is not recognized. Please check valid actions.\nAvailable actions: [")
    assert (reward, terminated, truncated, info["valid"]) == (0.0, False, False, False)
    assert info["actions"] == before["actions"]
    assert env.step("fly away")[3] is True


def test_checking_lists_the_actions_in_words():
    env = BabyAIText("UnlockPickup", list_actions=False)
    env.reset(seed=0)
    text, *_, info = env.step("Check available actions")
    assert text == (
        "You can take the following actions: turn left, turn right, move forward, pickup green key 1, "
        "go to green key 1, check available actions"
    )
    assert info["valid"]


def test_going_where_one_stands_changes_nothing():
    env = BabyAIText("UnlockPickup", list_actions=False)
    env.reset(seed=0)
    env.step("go to green key 1")
    text, *_, info = env.step("go to green key 1")
    assert (text, info["valid"]) == ("No change in state.", True)


@pytest.mark.parametrize("listed", [True, False])
def test_observations_list_the_actions_if_asked_to(listed):
    text, info = BabyAIText("PickupLoc", list_actions=listed).reset(seed=4)
    assert ("Available actions: [" in text) is listed
    assert all((f'"{action}"' in text) is listed for action in info["actions"])


def test_the_clock_of_minigrid_does_not_end_an_episode():
    env = BabyAIText("GoToLocal", max_rounds=500)
    env.reset(seed=0)
    ends = [env.step("turn left" if t % 2 else "turn right")[2:4] for t in range(500)]
    assert ends == [(False, False)] * 499 + [(False, True)]


def test_minigrids_reward_falls_with_the_low_level_actions_taken():
    env = BabyAIText("UnlockPickup", reward="minigrid", max_rounds=500)
    env.reset(seed=0)
    limit = env._episode.limit
    for action in ("pickup green key 1", "toggle and go through green locked door 1", "move forward"):
        env.step(action)
    info = {"actions": []}
    while "pickup purple box 1" not in info["actions"]:
        *_, info = env.step("drop" if "drop" in info["actions"] else "turn right")
    late = env.snapshot()
    reward = env.step("pickup purple box 1")[1]
    assert reward == pytest.approx(1 - 0.9 * env._world.step_count / limit)
    env.restore(late)
    env._world.step_count = 10 * limit
    assert env.step("pickup purple box 1")[1] == pytest.approx(0.1)


def test_a_level_that_ends_in_failure_pays_nothing_and_says_so():
    env = BabyAIText("OpenRedBlueDoorsDebug")
    for seed in range(20):
        _, info = env.reset(seed=seed)
        first = "blue" if info["task"].startswith("open the red") else "red"
        while not any(f"through {first} closed door" in action for action in info["actions"]):
            _, _, ended, truncated, info = env.step("turn left")
            if ended or truncated:
                break
        else:
            break
    action = next(action for action in info["actions"] if f"through {first} closed door" in action)
    text, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["success"]) == (0.0, True, False, False)
    assert "\n The task can no longer be completed." in text


def test_missions_lose_their_order_as_in_agentgym():
    env = BabyAIText("OpenDoorsOrderN4")
    tasks = []
    for seed in range(30):
        _, info = env.reset(seed=seed)
        assert (" and " in info["task"]) or ("then" not in env._world.mission and "after you" not in env._world.mission)
        tasks.append(info["task"])
    assert not any("then" in task or "after you" in task for task in tasks)


def test_a_seed_is_the_board_that_minigrid_makes_of_it():
    world = gymnasium.make("BabyAI-PickupLoc-v0").unwrapped
    world.reset(seed=11)
    env = BabyAIText("PickupLoc")
    env.reset(seed=11)
    assert env._world.mission == world.mission
    assert np.array_equal(env._world.grid.encode(), world.grid.encode())


@pytest.mark.parametrize("level", ["UnlockPickup", "SynthS5R2", "KeyCorridorS3R3", "BossLevel", "GoToObjMazeS4R2"])
def test_many_seeds_are_the_boards_of_minigrid(level):
    world, env = gymnasium.make(LEVELS[level]).unwrapped, BabyAIText(level)
    for seed in range(30):
        world.reset(seed=seed)
        env.reset(seed=seed)
        assert (env._world.mission, env._world.agent_dir) == (world.mission, world.agent_dir)
        assert tuple(env._world.agent_pos) == tuple(world.agent_pos)
        assert np.array_equal(env._world.grid.encode(), world.grid.encode())


@pytest.mark.timeout(60)
def test_a_room_too_full_for_the_agent_is_made_anew():
    text, _ = BabyAIText("SynthS5R2").reset(seed=1741)
    assert text.startswith("Your goal: ")


def test_an_unseeded_episode_names_the_seed_that_repeats_it():
    env = BabyAIText("PickupLoc")
    env.reset(seed=5)
    text, info = env.reset()
    board = int(info["task_id"].removeprefix("BabyAI-PickupLoc/"))
    assert BabyAIText("PickupLoc").reset(seed=board) == (text, info)


def test_infos_are_not_shared_between_steps():
    env = BabyAIText("PickupLoc")
    _, info = env.reset(seed=5)
    info["actions"].clear()
    assert env.step("turn left")[4]["actions"]


def test_a_restored_snapshot_returns_its_observation_and_info():
    env = BabyAIText("PickupLoc")
    begun = env.reset(seed=5)
    snapshot = env.snapshot()
    env.step("turn left")
    assert env.restore(snapshot) == begun


def test_a_snapshot_of_a_finished_episode_stays_finished():
    env = BabyAIText("PickupLoc", max_rounds=1)
    env.reset(seed=5)
    env.step("turn left")
    env.restore(env.snapshot())
    with pytest.raises(ResetNeeded):
        env.step("turn left")


def test_a_snapshot_between_the_parts_of_a_mission_remembers_the_first():
    env = BabyAIText("OpenTwoDoors", max_rounds=200)
    env.reset(seed=2)
    world = env._world
    assert isinstance(world.instrs, BeforeInstr)
    world.instrs.a_done = "success"
    snapshot = env.snapshot()
    env.reset(seed=3)
    env.restore(snapshot)
    assert world.instrs.a_done == "success"
    assert world.instrs.env is world
    assert world.instrs.instr_a.env is world


def test_restoring_keeps_instructions_pointing_at_the_objects_of_the_grid():
    env = BabyAIText("UnlockPickup")
    env.reset(seed=0)
    env.restore(env.snapshot())
    world = env._world
    (box,) = world.instrs.desc.obj_set
    assert any(cell is box for cell in world.grid.grid)


def test_a_snapshot_of_another_level_is_refused():
    one, other = BabyAIText("PickupLoc"), BabyAIText("GoToLocal")
    one.reset(seed=0)
    with pytest.raises(ValueError, match="'PickupLoc', this environment of 'GoToLocal'"):
        other.restore(one.snapshot())


def test_a_fresh_environment_can_be_restored_before_any_reset():
    one, other = BabyAIText("PickupLoc"), BabyAIText("PickupLoc")
    begun = one.reset(seed=0)
    assert other.restore(one.snapshot()) == begun
    assert other.step("turn left") == one.step("turn left")
    assert other.reset() == one.reset()


def test_a_deep_copy_goes_its_own_way():
    env = BabyAIText("UnlockPickup")
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    actions = ["pickup green key 1", "toggle and go through green locked door 1", "turn left"]
    first = [env.step(action) for action in actions]
    assert [twin.step(action) for action in actions] == first


def test_render_returns_the_last_observation():
    env = BabyAIText("PickupLoc", render_mode="ansi")
    assert env.render() is None
    text, _ = env.reset(seed=0)
    assert env.render() == text
    assert env.render() != env.step("turn left")[0] == env.render()


def test_several_environments_play_in_threads():
    def episode(seed):
        env, chance = BabyAIText("GoToObjMazeS4R2"), random.Random(seed)
        text, info = env.reset(seed=seed)
        texts, over = [text], False
        while not over:
            text, _, terminated, truncated, info = env.step(chance.choice(info["actions"]))
            texts.append(text)
            over = terminated or truncated
        return texts

    seeds, together = range(6), {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: episode(s)})) for s in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == {seed: episode(seed) for seed in seeds}


def test_thousands_of_rejected_boards_are_not_told_on_stdout(capfd):
    env = BabyAIText("UnlockToUnlock")
    for seed in range(20):
        env.reset(seed=seed)
    assert capfd.readouterr().out == ""


def test_importing_leaves_the_variables_of_the_process_as_they_were():
    code = (
        "import os; before = dict(os.environ)\n"
        "import agentprm_envs.babyai\n"
        "assert dict(os.environ) == before, set(os.environ) ^ set(before)"
    )
    child = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"], capture_output=True, text=True
    )
    assert (child.returncode, child.stdout) == (0, ""), child.stderr


def test_importing_the_package_does_not_import_minigrid():
    code = f"import sys; sys.path[:] = {sys.path!r}\nimport agentprm_envs; assert 'minigrid' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_minigrid_is_named_with_the_way_out():
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "sys.modules['minigrid'] = None\n"
        "import gymnasium\n"
        "gymnasium.make('agentprm_envs:BabyAIText/UnlockPickup-v0')"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtra: this needs minigrid" in child.stderr
    assert "pip install 'agentprm[envs]'" in child.stderr


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_every_registered_level_can_be_played(level):
    env = gymnasium.make(f"agentprm_envs:BabyAIText/{level}-v0", max_rounds=3)
    text, info = env.reset(seed=1)
    assert text.startswith(f"Your goal: {info['task']}\n")
    while True:
        text, _, terminated, truncated, info = env.step(info["actions"][-1])
        assert env.observation_space.contains(text)
        if terminated or truncated:
            break


def test_any_level_of_minigrid_can_be_named_by_its_id():
    env = BabyAIText("BabyAI-OneRoomS8-v0")
    assert env.reset(seed=0)[1]["task_id"] == "BabyAI-OneRoomS8/0"


def test_bad_arguments_are_refused_at_construction():
    for arguments in ({"max_rounds": 0}, {"reward": "dense"}, {"render_mode": "human"}):
        with pytest.raises(ValueError):
            BabyAIText("PickupLoc", **arguments)
    with pytest.raises(NameNotFound):
        BabyAIText("NoSuchLevel")


def test_misuse_is_refused_by_name():
    env = BabyAIText("PickupLoc")
    with pytest.raises(ResetNeeded):
        env.step("turn left")
    with pytest.raises(ResetNeeded):
        env.snapshot()
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="int"):
        env.step(3)
