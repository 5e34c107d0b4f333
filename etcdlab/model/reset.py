"""What `reset` did: the answer of the control API, and what the command line shows. A public contract."""

import msgspec

from etcdlab.model.status import SCHEMA_VERSION


class ResetOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The lab is pristine. `rebuilt` says that its members began anew, with empty data; `why` (else "") for what."""

    rebuilt: bool
    why: str = ""
    version: int = SCHEMA_VERSION
