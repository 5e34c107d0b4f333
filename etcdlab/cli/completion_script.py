"""`etcdlab completion`: the script that makes a shell ask etcdlab for completions."""

import click
from click.shell_completion import get_completion_class

from etcdlab.cli.result import Result
from etcdlab.cli.verb import verb


@verb("completion", example='eval "$(etcdlab completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Result:
    """Print the completion script for a shell.

    \b
    bash, in ~/.bashrc:                eval "$(etcdlab completion bash)"
    zsh, in ~/.zshrc after compinit:   eval "$(etcdlab completion zsh)"
    fish:  etcdlab completion fish > ~/.config/fish/completions/etcdlab.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    # The script asks for words by running `etcdlab` anew; no command is needed to write it.
    script = kind(click.Command("etcdlab"), {}, "etcdlab", "_ETCDLAB_COMPLETE").source()
    return Result(view=[script.rstrip()], data={"shell": shell, "script": script})
