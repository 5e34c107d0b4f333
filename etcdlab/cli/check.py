"""`etcdlab check`: is the lab as secure as it claims to be?"""

from typing import TYPE_CHECKING, Final

from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import lab_option, verb
from etcdlab.errors import ExitStatus
from etcdlab.interruption import undoable

if TYPE_CHECKING:
    from etcdlab.check.report import Aspect, Port, SecurityReport

_RESULTS: Final = {True: Cell("ok", "good"), False: Cell("FAILED", "bad"), None: Cell("-", "quiet")}


@verb("check", example="etcdlab check --lab main")
@lab_option
def check(lab: str | None) -> Result:
    """Prove that a running lab is secure, by trying: who is let in, who is refused and with which words.

    The members log each refused attempt as a warning. Exit status: 0 all is well, 1 something failed.
    """
    from etcdlab.check import security  # cryptography and psutil, 0.1 s that `--help` does not pay

    with undoable():  # it makes certificates to try with
        report = security.check(attach(lab).directory)
    status = ExitStatus.DONE if report.passed else ExitStatus.FAILED
    return Result(view=_view(report), data=report, exit_status=status)


def _view(report: "SecurityReport") -> View:
    # Members of which the same was said share a line: three members are 46 checks.
    alike: dict[tuple[Aspect, Port | None, bool | None, str], list[str]] = {}
    for check in report.checks:
        alike.setdefault((check.name, check.port, check.passed, check.detail), []).append(check.member or "-")
    rows = tuple(
        (name.value, " ".join(members), port.value if port else "-", _RESULTS[passed], detail)
        for (name, port, passed, detail), members in alike.items()
    )
    yield Table(header=("CHECK", "MEMBERS", "PORT", "", "WHAT WAS SAID"), rows=rows)
    made = [check for check in report.checks if check.passed is not None]
    failed = [check for check in made if not check.passed]
    if failed:
        yield Cell(f"{report.lab}: {len(failed)} of {len(made)} checks failed", "bad")
    else:
        yield Cell(f"{report.lab}: all {len(made)} checks passed", "good")
