"""Points in time as verbs take them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from etcdlab.model.units import Duration


class Moment(click.ParamType[datetime]):
    """An ISO 8601 time, or how long ago it was; with `is_ahead`, in how long it will be, perhaps after a "+"."""

    name = "time"

    def __init__(self, *, is_ahead: bool = False) -> None:
        self._is_ahead = is_ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware. A click usage error says what is accepted."""
        if isinstance(value, datetime):
            return value
        try:
            if self._is_ahead:
                return datetime.now(UTC) + timedelta(seconds=Duration.parse(value.removeprefix("+")))
            return datetime.now(UTC) - timedelta(seconds=Duration.parse(value))
        except (ValueError, OverflowError):
            pass
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            shown = '"+30d"' if self._is_ahead else '"90s", "5m", "2h"'
            self.fail(f'{value!r} is no time: write {shown} or "2026-11-24T22:39:41"', param, ctx)
