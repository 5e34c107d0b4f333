"""What a crash, a full disk or a bad one make of a file."""

from collections.abc import Iterator


def damaged(whole: bytes) -> Iterator[bytes]:
    """The content cut at every byte, then with one byte changed at every place."""
    yield from cut(whole)
    yield from flipped(whole)


def cut(whole: bytes) -> Iterator[bytes]:
    """The content cut at every byte."""
    for length in range(len(whole)):
        yield whole[:length]


def flipped(whole: bytes) -> Iterator[bytes]:
    """The content with one byte changed: to another character, and to what is no UTF-8."""
    for place, byte in enumerate(whole):
        for changed in (byte ^ 0x01, byte ^ 0x80):
            yield whole[:place] + bytes([changed]) + whole[place + 1 :]
