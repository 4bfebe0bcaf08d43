"""Importing this records every LangChain run of the process in the store that ``AGENTPRM_RECORD`` names, if it does.

``AGENTPRM_RECORD=runs.db`` and this one import are all; a run that has a `PRMCallbackHandler` is left to it.
"""

from agentprm.feedback.recording import follow_environment

__all__ = ["handler"]

handler = follow_environment()
"""What records; None where the variable is not set."""
