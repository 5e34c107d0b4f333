"""All checks of a running lab."""

from typing import Final

from etcdlab.check.host import check_listeners, check_modes
from etcdlab.check.report import Aspect, Check, SecurityReport
from etcdlab.check.tls import check_tls
from etcdlab.errors import NotRunningError
from etcdlab.prepare.labdir import LabDirectory

_OF_TLS: Final = (
    Aspect.CLIENT_CERTIFICATE,
    Aspect.NO_CERTIFICATE,
    Aspect.FOREIGN_CERTIFICATE,
    Aspect.EXPIRED_CERTIFICATE,
    Aspect.PLAIN_HTTP,
    Aspect.FOREIGN_CA,
    Aspect.TLS_1_1,
    Aspect.KEY_MODES,
)


def check(directory: LabDirectory) -> SecurityReport:
    """Try it all. Raises NotRunningError, LabStateError, CertificateError."""
    plan = directory.load_plan()
    if not directory.is_running():
        raise NotRunningError(
            f"lab {directory.name!r} does not run, and only a running lab can be tried",
            hint=f"`etcdlab up --name {directory.name}` starts it.",
        )
    checks = [*check_modes(directory, plan), *check_listeners(directory, plan)]
    if plan.tls is not None:
        checks = check_tls(plan, plan.tls) + checks
    else:
        none = [Check(name=aspect, passed=None, detail="does not apply: no TLS") for aspect in _OF_TLS]
        checks = none + checks
    return SecurityReport(lab=plan.lab, passed=all(one.passed is not False for one in checks), checks=tuple(checks))
