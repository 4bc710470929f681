"""Text as any editor on any system writes it."""

import codecs

__all__ = ["text_of"]

MARKS = {  # UTF-32 first: its little-endian mark begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


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
