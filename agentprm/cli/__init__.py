"""The command line: verbs in the order of the river, each reading and writing a store."""

from __future__ import annotations

from importlib import import_module

import click

from agentprm.suggest import did_you_mean

__all__ = ["main"]

_VERBS = ("demo", "record", "import", "label", "train", "score", "serve", "credit", "report", "view",
          "export", "merge", "db")  # fmt: skip


class _River(click.Group):
    """Verbs in the order of the river, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in order."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a verb; None for no such one."""
        if name not in _VERBS:
            return None
        word = "import_" if name == "import" else name
        command: click.Command = getattr(import_module(f"agentprm.cli.{word}"), word)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that was meant; of an unknown one, say which it may have been."""
        if args and not args[0].startswith("-") and args[0] not in _VERBS:
            ctx.fail(f"no verb is called {args[0]!r}{did_you_mean(args[0], _VERBS)}; there are {', '.join(_VERBS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_River, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agentprm")
def _agentprm() -> None:
    """Process reward models for multi-turn agents: record, label, train, score, ask who deserves the credit."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 for what went wrong, 2 for a command that makes no sense."""
    from agentprm.cli.output import run

    run(_agentprm, arguments)
