"""Text as any editor on any system writes it, and what others say in one line."""

import codecs
import re
from typing import Any

__all__ = ["amount", "named_type", "one_line", "plural", "text_of"]

MOST = 200
"""The most characters of a line."""

MARKS = {  # UTF-32 first: its little-endian mark begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def amount(count: int, noun: str) -> str:
    """`1 update`, `2 updates`."""
    return f"{count:,} {plural(count, noun)}"


def plural(count: float, noun: str) -> str:
    """`update` for one, `updates` for any other number."""
    return noun if count == 1 else f"{noun}s"


def named_type(value: Any) -> str:
    """`a list`, `an int`, `nothing`: what a value is, in words."""
    name = type(value).__name__
    if value is None:
        return "nothing"
    return f"{'an' if re.match(r'[aeio]|u(?!int|ni|se)|nd', name, re.IGNORECASE) else 'a'} {name}"


def one_line(said: Any, most: int = MOST) -> str:
    """What `said` reads as, in one line that can be printed anywhere; its type where it says nothing.

    It may come from a hostile client: nothing that it contains can move a terminal's cursor.
    """
    try:
        text = " ".join(str(said)[: 4 * most].split())
    except Exception:  # `__str__` is anyone's code
        text = ""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text[:most] or type(said).__name__


def text_of(content: bytes) -> str:
    """The text, lines ending in a line feed; in UTF-8, or in what its byte order mark says.

    Raises `ValueError` saying which byte is none of it.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        line = content[: problem.start].count(b"\n") + 1
        found = f"byte 0x{content[problem.start]:02x} in line {line}"
        raise ValueError(f"expected text in UTF-8, found {found}; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError("expected text in UTF-8, found zero bytes; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
