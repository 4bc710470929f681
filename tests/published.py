"""Small data sets in the very format that their publishers chose."""

from typing import Any

import numpy as np

__all__ = ["leaf_comments", "number", "official", "short"]


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def official(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """The batch as Python 2 and its NumPy pickled it, opcode by opcode."""
    rows, columns = pixels.shape
    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n" + b"K\x00\x85" + short(b"b") + b"\x87R"
        + b"(K\x01" + number(rows) + number(columns) + b"\x86"
        + b"cnumpy\ndtype\n" + short(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + short(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
        + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )  # fmt: skip
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(key) + listed + b"u."


def leaf_comments(comments: list[str], length: int = 10) -> dict[str, Any]:
    """Comments as LEAF publishes them: sequences of ten words, what follows each, and which of them count."""

    def cut(words: list[Any], pad: Any) -> list[list[Any]]:
        words = words + [pad] * (-len(words) % length)
        return [words[start : start + length] for start in range(0, len(words), length)]

    said = [["<BOS>", *comment.split(), "<EOS>"] for comment in comments]
    told = [
        {
            "subreddit": "cats",
            "created_utc": 1512086400,
            "score": 1,
            "target_tokens": cut([*words[1:], "<PAD>"], "<PAD>"),
            "count_tokens": cut([1.0] * len(words), 0.0),
        }
        for words in said
    ]
    return {"x": [cut(words, "<PAD>") for words in said], "y": told}
