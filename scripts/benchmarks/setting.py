"""What every row is given."""

from dataclasses import dataclass
from pathlib import Path

from product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How much is measured, and where. `window_s` is the length in seconds of one sample of CPU time."""

    runs: int
    window_s: float
    big: bool
    scratch: Path
    product: Product
