"""The lab that a verb acts on, with a daemon to do it: one that died is followed by another, and that is told."""

from etcdlab.cli import render
from etcdlab.lab import Lab


def attach(name: str | None) -> Lab:
    """As `Lab.attach`. Raises NotRunningError also when the lab is down."""
    lab = Lab.attach(name)
    if not lab.is_served():
        from etcdlab.cli.up import tell  # 0.1 s with all of it, which a lab that has its daemon does not pay

        lab.take_over(on_event=tell)
        render.message(f"the daemon of lab {lab.name} was gone: another one took over", style="warning")
    return lab
