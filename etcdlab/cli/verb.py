"""How every command behaves: `--json`, an example in `--help`, errors as messages, trustworthy exit statuses."""

import gc
import io
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from etcdlab.cli import render
from etcdlab.cli.completion import complete_lab
from etcdlab.cli.result import Result
from etcdlab.errors import EtcdlabError, ExitStatus
from etcdlab.interruption import Interrupted, end_by
from etcdlab.model.units import MOMENT_S, Duration

if TYPE_CHECKING:
    from etcdlab.interpreter import Interpreter

lab_option = click.option(
    "--lab",
    metavar="NAME",
    help="The lab meant; else $ETCDLAB_LAB, else the only one running.",
    shell_complete=complete_lab,
)


class DurationType(click.ParamType[float]):
    """A length of time as topologies write it, or a bare number of seconds; no shorter than `least_s`."""

    name = "duration"

    def __init__(self, least_s: float = 0.0) -> None:
        self._least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds. A click usage error says what is accepted."""
        try:
            seconds = float(Duration.parse(float(value) if str(value).replace(".", "", 1).isdigit() else value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self._least_s:
            self.fail(f"{value} is too short: at least {Duration(self._least_s)}", param, ctx)
        return seconds


DURATION = DurationType()


def for_option(text: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """`--for`, in seconds: how long what the verb does lasts."""
    return click.option("--for", "for_", type=DurationType(least_s=MOMENT_S), metavar="DURATION", help=text)


class ShowingGroup(click.Group):
    """A group with a verb `show`, which is meant where no verb is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put it where no verb is."""
        is_bare = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["show", *args] if is_bare else args)


class Verb(click.Command):
    """A command whose callback returns a Result. Adds `--json`, prints the result, turns errors into messages."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the example after the options, as it is to be typed."""
        if self.example:
            with formatter.section("Example"):
                formatter.write_text(self.example)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback and leave with its status."""
        as_json = bool(ctx.params.pop("as_json", False))
        try:
            return self._invoke(ctx, as_json=as_json)
        except BrokenPipeError:  # the reader left (`etcdlab logs -f | head`); here, since click would call it a failure
            end_by(signal.SIGPIPE)

    def _invoke(self, ctx: click.Context, *, as_json: bool) -> Any:
        try:
            result = super().invoke(ctx)
            if isinstance(result, Result):
                gc.freeze()  # else the first collection walks all that was imported: 15 ms of an `up`
                gc.enable()  # a view may go on for ever
                render.render(result, as_json=as_json)
                if result.then is not None:
                    result.then()
                ctx.exit(result.exit_status)
        except EtcdlabError as failure:
            render.error(failure, as_json=as_json)
            ctx.exit(failure.exit_status)
        except OSError as error:
            if error.filename is None:
                raise
            # Of a place that is not as it should be: a message, as for all that is known of.
            render.error(EtcdlabError(f"{error.filename}: {error.strerror}"), as_json=as_json)
            ctx.exit(EtcdlabError.exit_status)
        return result


def verb(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Result]], Verb]:
    """Declare a command: `@verb("status", example="etcdlab status --watch")` above click's own decorators."""
    return click.command(name, cls=Verb, example=example, **settings)


def run(group: click.Group, interpreter: "Interpreter | None") -> None:
    """Run the command line to its exit: no traceback for signals or bad usage.

    `interpreter` is for a verb that starts a lab.
    """
    try:
        status = group(prog_name="etcdlab", standalone_mode=False, obj=interpreter)
    except click.ClickException as failure:
        said = io.StringIO()
        failure.show(said)
        render.message(said.getvalue().rstrip())
        status = ExitStatus.USAGE
    except Interrupted as interrupted:
        render.message("interrupted")
        end_by(interrupted.number)
    except OSError as error:
        if error.errno not in render.OUTPUT_LOST or error.filename is not None:
            raise
        render.output_lost(error)
        status = ExitStatus.FAILED
    gc.freeze()  # else the interpreter's end walks every object that was imported, some 10 ms
    sys.exit(status)
