"""What a member keeps on its disk."""

import enum


class Part(enum.Enum):
    """What of a data directory can be damaged: the log of changes, or the database."""

    WAL = "wal"
    DB = "db"
