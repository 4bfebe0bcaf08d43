"""The BabyAI levels that are registered as text environments: our name of a level, and minigrid's."""

from types import MappingProxyType

__all__ = ["LEVELS", "find_level"]

# Those that AgentGym plays, in its order.
_AGENTGYM = """
    GoToRedBallGrey GoToRedBall GoToRedBallNoDists GoToObjS6 GoToLocalS8N7 GoToObjMazeS7 GoToImpUnlock GoToSeqS5R2
    GoToRedBlueBall GoToDoor GoToObjDoor Open OpenRedDoor OpenDoorLoc OpenRedBlueDoorsDebug OpenDoorsOrderN4Debug
    Pickup UnblockPickup PickupLoc PickupDistDebug PickupAbove PutNextLocalS6N4 PutNextS7N4Carrying Unlock
    UnlockLocalDist KeyInBox UnlockPickupDist BlockedUnlockPickup UnlockToUnlock ActionObjDoor FindObjS7
    KeyCorridorS6R3 OneRoomS20 MoveTwoAcrossS8N9 SynthS5R2 SynthLoc SynthSeq MiniBossLevel BossLevel BossLevelNoUnlock
"""
_SMALLER = """
    GoToLocal GoToObjMazeS4R2 UnlockPickup UnlockLocal OpenDoorsOrderN4 FindObjS5 PutNextLocal PutNextS5N1
    KeyCorridorS3R3 MoveTwoAcrossS5N2
"""
_VERSIONS = {"GoToObjS6": "v1"}

LEVELS = MappingProxyType(
    {name: f"BabyAI-{name}-{_VERSIONS.get(name, 'v0')}" for name in (_AGENTGYM + _SMALLER).split()}
)
"""Our name of each registered level → minigrid's id of it: ``LEVELS["Unlock"] == "BabyAI-Unlock-v0"``."""


def find_level(name: str) -> tuple[str, str]:
    """Return the short name of a level and minigrid's id of it, from either.

    Any ``BabyAI-*`` id is taken at its word; a short name is one of ``LEVELS`` or that of a ``BabyAI-<name>-v0``.

    >>> find_level("Unlock"), find_level("BabyAI-GoToObjS6-v1")
    (('Unlock', 'BabyAI-Unlock-v0'), ('GoToObjS6', 'BabyAI-GoToObjS6-v1'))
    """
    if name.startswith("BabyAI-"):
        return name.removeprefix("BabyAI-").rpartition("-")[0] or name, name
    return name, LEVELS.get(name, f"BabyAI-{name}-v0")
