"""``python -m agentprm``."""

from agentprm.cli import main

if __name__ == "__main__":
    main()
