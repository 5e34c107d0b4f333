"""Plain data to frozen tables, strictly, with every problem collected instead of the first one raised.

msgspec alone would stop at the first wrong value. What is wrong is reported and replaced by its default, so that the
rules about the whole can still be checked and reported in the same breath.
"""

import difflib
import enum
import types
import typing
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from etcdlab.model.units import Duration, Size

Problems = dict[str, str]
"""Key path (`node[1].client_port`; arrays count from 0) -> what is wrong there."""

_S = TypeVar("_S", bound=msgspec.Struct)

_MOST: Final = 2**63 - 1
"""What TOML allows a whole number to be."""
_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    Duration: 'a duration like "30s" or "8760h"',
    Size: 'a size like "64KiB" or "2GiB"',
}


def table(kind: type[_S], data: object, path: str, problems: Problems) -> _S:
    """Build `kind` from a TOML table, adding what is wrong with it to `problems`.

    Then the result is not to be used, only to be looked at for more problems.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag_field = kind.__struct_config__.tag_field
    required = [field for field in fields.values() if field.required]
    values: dict[str, Any] = {
        field.name: next(iter(field.type)) if _is_enum(field.type) else field.type() for field in required
    }
    if not isinstance(data, dict):
        header = f"[[{_plain(path)}]]" if path.endswith("]") else f"[{_plain(path)}]"
        problems[path] = f"expected a table, written {header}, but found {_found(data)}"
        return kind(**values)
    for key, value in data.items():
        if key == tag_field:
            continue
        if key in fields:
            _store(values, fields[key], value, join(path, key), problems)
        else:
            problems[join(path, key)] = "unknown key" + (_guess(key, fields) or f" (valid here: {', '.join(fields)})")
    problems |= {
        join(path, field.encode_name): "this key is required" for field in required if field.encode_name not in data
    }
    return kind(**values)


def join(path: str, key: str) -> str:
    """The path of `key` in the table at `path`, with `key` quoted where TOML would quote it."""
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return f"{path}.{key if bare else text(key)}".lstrip(".")


def text(value: str) -> str:
    """A string in double quotes, on one line, short enough for a message."""
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= 60 else f'{shown[:56]}…"'


def _store(
    values: dict[str, Any], field: msgspec.structs.FieldInfo, value: object, path: str, problems: Problems
) -> None:
    """Put the decoded value into `values`; leave it out if the default is the better guess."""
    kind = _without_none(field.type)
    arguments = typing.get_args(kind)
    if _is_struct(kind):
        values[field.name] = table(kind, value, path, problems)
    elif typing.get_origin(kind) is tuple and (_is_struct(arguments[0]) or _is_choice(arguments[0])):
        values[field.name] = _tables(arguments[0], value, path, problems)
    elif typing.get_origin(kind) is tuple:
        values[field.name] = _items(arguments[0], value, path, problems)
    elif typing.get_origin(kind) is dict:
        values[field.name] = _entries(arguments[1], value, path, problems)
    else:
        _leaf(values, field.name, kind, value, path, problems)


def _tables(kind: Any, data: object, path: str, problems: Problems) -> tuple[Any, ...]:
    if not isinstance(data, list):
        problems[path] = f"expected tables, each written [[{_plain(path)}]], but found {_found(data)}"
        return ()
    build = table if _is_struct(kind) else _chosen
    return tuple(build(kind, item, f"{path}[{number}]", problems) for number, item in enumerate(data))


def _chosen(kinds: Any, data: object, path: str, problems: Problems) -> msgspec.Struct:
    """The table of the kind that its tag says; all of it is a stand-in where that cannot be read."""
    known: dict[str, type[msgspec.Struct]] = {kind.__struct_config__.tag: kind for kind in typing.get_args(kinds)}
    stand_in = next(iter(known.values()))
    if not isinstance(data, dict):
        return table(stand_in, data, path, problems)
    key = str(stand_in.__struct_config__.tag_field)
    tag = data.get(key)
    if isinstance(tag, str) and tag in known:
        return table(known[tag], data, path, problems)
    guess = _guess(tag, known) if isinstance(tag, str) else ""
    found = f"found {_found(tag)}{guess}" if key in data else "it is left out"
    problems[path] = f"expected {key} to be one of {', '.join(map(text, known))}, but {found}"
    return table(stand_in, {}, path, {})


def _items(kind: Any, data: object, path: str, problems: Problems) -> tuple[Any, ...]:
    if not isinstance(data, list):
        problems[path] = f"expected an array of {_expected(kind)}, but found {_found(data)}"
        return ()
    values: dict[int, Any] = {}
    for number, item in enumerate(data):
        _leaf(values, number, kind, item, f"{path}[{number}]", problems)
    return tuple(values.values())


def _entries(kind: Any, data: object, path: str, problems: Problems) -> dict[str, Any]:
    if not isinstance(data, dict):
        problems[path] = f"expected a table, written [{_plain(path)}], but found {_found(data)}"
        return {}
    values: dict[str, Any] = {}
    for key, item in data.items():
        _leaf(values, key, kind, item, join(path, key), problems)
    return values


def _leaf(values: dict[Any, Any], key: Any, kind: Any, value: object, path: str, problems: Problems) -> None:
    if isinstance(value, int) and not -_MOST - 1 <= value <= _MOST:
        problems[path] = f"expected {_expected(kind)}, but found {_found(value)}"
        return
    try:
        values[key] = msgspec.convert(value, kind, dec_hook=_parse)
    except msgspec.ValidationError as error:
        # What `parse` says of a duration or size is better than msgspec's sentence about types.
        said = str(error.__cause__) if error.__cause__ else ""
        guess = _guess(value, [member.value for member in kind]) if _is_enum(kind) and isinstance(value, str) else ""
        problems[path] = said or f"expected {_expected(kind)}, but found {_found(value)}{guess}"


def _parse(kind: type, value: Any) -> Any:
    accepted = (str, int, float) if kind is Duration else (str, int)
    if isinstance(value, bool) or not isinstance(value, accepted):
        # ValueError, because msgspec turns only that into its own error.
        raise ValueError(f"expected {_expected(kind)}, but found {_found(value)}")  # noqa: TRY004
    return kind.parse(value)  # type: ignore[attr-defined]


def _guess(word: str, valid: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), valid, n=1)
    return f" (did you mean {text(close[0])}?)" if close else ""


def _expected(kind: Any) -> str:
    if _is_enum(kind):
        return "one of " + ", ".join(text(member.value) for member in kind)
    if isinstance(kind, types.UnionType):
        return " or ".join(_WORDS[part] for part in typing.get_args(kind))
    return _WORDS[kind]


def _found(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and abs(value) > _MOST:
        return "a number of more than 64 bits"  # Python refuses to write one of more than 4300 digits
    return str(value)


def _plain(path: str) -> str:
    """A key path as it is written in a header: without the counts."""
    return ".".join(part.partition("[")[0] for part in path.split("."))


def _without_none(kind: Any) -> Any:
    """TOML has no null: None is only ever the default."""
    if isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind):
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_choice(kind: Any) -> bool:
    """Whether it is one of several kinds of tables that a tag tells apart."""
    return isinstance(kind, types.UnionType) and all(map(_is_struct, typing.get_args(kind)))


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)
