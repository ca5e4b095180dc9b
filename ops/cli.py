"""Lists the commands of `vision-relay`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from ops.commands import dead_letters, events
from ops.commands.doctor import doctor_command
from ops.commands.put import put_command
from ops.commands.running import log_everything
from ops.commands.send import send_command
from ops.commands.status import status_command
from ops.commands.verify import verify_command
from ops.commands.watch import watch_command
from ops.output import EXIT_CODES_HELP

app = typer.Typer(
    name="vision-relay",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_HELP,
)
app.command("put", epilog=EXIT_CODES_HELP)(put_command)
app.command("send", epilog=EXIT_CODES_HELP)(send_command)
app.command("verify", epilog=EXIT_CODES_HELP)(verify_command)
app.command("watch", epilog=EXIT_CODES_HELP)(watch_command)
app.command("status", epilog=EXIT_CODES_HELP)(status_command)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.command("doctor", epilog=EXIT_CODES_HELP)(doctor_command)


def _show_version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"vision-relay {version('vision-relay')}")
        except PackageNotFoundError:
            typer.echo("vision-relay, not installed: run from its folder")
        raise typer.Exit


@app.callback()
def _about(
    show_version: Annotated[  # noqa: ARG001 (its callback does it)
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "--debug", help="Show on standard error what the libraries log.")
    ] = False,
) -> None:
    """Send image metadata to Custom Vision by the thousand, see what came of it, and mend what went wrong.

    Settings are the app's own, from the environment or local.settings.json.
    """
    if verbose:
        log_everything()
