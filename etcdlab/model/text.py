"""Text of foreign origin, made fit to be shown: none of it may drive a terminal."""


def printable(text: str) -> str:
    """`text` on one line, with tabs as spaces and every control character escaped."""
    text = text.replace("\t", "    ")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """The same, with its line breaks left in."""
    return "\n".join(map(printable, text.split("\n")))
