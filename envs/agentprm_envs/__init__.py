"""Text environments for agents, registered with Gymnasium on import.

>>> import gymnasium
>>> env = gymnasium.make("agentprm_envs:BabyAIText/UnlockPickup-v0")
>>> observation, info = env.reset(seed=0)
>>> print(observation.splitlines()[0])
Your goal: pick up the purple box
"""

from gymnasium import register, registry

from agentprm_envs.babyai_levels import LEVELS

__all__ = ["LEVELS"]


def _register_babyai() -> None:
    for level in LEVELS:
        name = f"BabyAIText/{level}-v0"
        if name not in registry:
            register(id=name, entry_point="agentprm_envs.babyai:BabyAIText", kwargs={"level": level})


def _register_desk() -> None:
    if "Desk-v0" not in registry:
        register(id="Desk-v0", entry_point="agentprm_envs.desk:Desk")


_register_babyai()
_register_desk()
