"""Settings of the tools the tests are written with."""

from hypothesis import settings

# The same examples in every run, however busy the machine is, and no folder left behind.
settings.register_profile("agentprm", deadline=None, derandomize=True, database=None)
settings.load_profile("agentprm")
