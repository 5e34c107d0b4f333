"""Verbs that tell things one by one, for ever if asked: their `--json` is a line of JSON for each."""

from collections.abc import Callable
from typing import Any, Final

import click

from etcdlab.cli.result import Result
from etcdlab.cli.verb import Verb

LINE_COUNT: Final = click.IntRange(0, 10**9)
"""More than any file has, and no more than Python counts to."""


class StreamVerb(Verb):
    """A verb whose callback gets `json_lines` and returns a view of JSON lines when it is set."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        json_option = next(param for param in self.params if param.name == "as_json")
        assert isinstance(json_option, click.Option)
        json_option.help = "Print JSON; of what goes on, JSON lines."

    def invoke(self, ctx: click.Context) -> Any:
        """Let the callback know of `--json`, which `Verb` takes for itself."""
        ctx.params["json_lines"] = ctx.params.get("as_json", False)
        return super().invoke(ctx)


def stream_verb(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Result]], StreamVerb]:
    """Declare such a command, as `verb` does; its function takes `json_lines` besides its options."""
    return click.command(name, cls=StreamVerb, example=example, **settings)
