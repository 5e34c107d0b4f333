"""What a crash, a full disk or a bad one make of a file."""

from collections.abc import Iterator


def damaged(whole: bytes) -> Iterator[bytes]:
    """The content cut at every byte, then with one byte changed at every place."""
    for length in range(len(whole)):
        yield whole[:length]
    for place, byte in enumerate(whole):
        for flipped in (byte ^ 0x01, byte ^ 0x80):  # another character; no UTF-8
            yield whole[:place] + bytes([flipped]) + whole[place + 1 :]
