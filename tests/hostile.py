"""What no user means and some input holds: text and numbers for the tests of what becomes of it."""

import unicodedata

from hypothesis import strategies as st

WORDS = [
    "", ".", "..", "-x", "--help", "a/b", "../n1", "/etc/passwd", "$(id)", "`id`", ";reboot", "con", "nul", "~",
    "~root/x", "~nobody-here/x", "n" * 300, "n" * 100_000, "a\nb", "a\0b", "\x1b[31mred", "\x9b31m", "\u202egnp.exe",
    "\ufeff",
    "\u2028", "é", "e\u0301", "😀", "%s%n", "{0.__class__}", "n1=http://127.0.0.1:1,n2", "127.0.0.1:1", "::1%\x1b[1m",
    "null", "true", "0x10", "1e9", "²", "9" * 30 + "h", "9" * 15 + "d", "0s", "-1s", "nan", "inf", "1EiB", "9" * 21,
]  # fmt: skip
NUMBERS = [0, -1, 1, 65535, 65536, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30]

text = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.sampled_from(NUMBERS) | st.integers()
json_values = st.recursive(
    text | numbers | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


def nested(depth: int) -> bytes:
    """JSON that is deeper than any reader goes."""
    return b"[" * depth + b"]" * depth


def drives_a_terminal(shown: str) -> bool:
    """Whether there is a control character in it, other than the end of a line."""
    return any(unicodedata.category(char) == "Cc" and char != "\n" for char in shown)
