"""Check this implementation against files of known answers: `python -m sparsefed.secagg.vectors FILE…`.

The files are those of draft-chen-cfrg-vdaf-pine (Pine64HmacSha256Aes128). The first difference ends with exit
code 1 and names the file and the field; a file of another form ends with exit code 2.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparsefed.core.errors import DataError, SparseFedError
from sparsefed.secagg.field import add, centered, to_bytes
from sparsefed.secagg.parameters import Parameters
from sparsefed.secagg.pine import Pine, true_seeds

__all__ = ["difference", "main"]


def difference(path: Path) -> str | None:
    """The first field of a file that comes out differently, such as `prep[0].public_share`, if any."""
    try:
        known = json.loads(path.read_text())
        pine = Pine(_parameters(known))
        return next((field for field, same in _compared(pine, known) if not same), None)
    except (KeyError, IndexError, TypeError, ValueError, OSError) as problem:
        if isinstance(problem, SparseFedError):
            raise
        raise DataError(f"{path}: expected known answers of PINE, found {problem!r:.80}") from None


def _parameters(known: dict[str, Any]) -> Parameters:
    for key, value in (("field", "Field64"), ("shares", 2)):
        if known[key] != value:
            raise DataError(f"expected `{key}` {value!r}, found {known[key]!r}")
    return Parameters(
        dimension=known["dimension"],
        bound=known["l2_norm_bound"],
        norm_proofs=known["proofs_norm_equality"],
        proofs=known["proofs"],
        chunk=known["chunk_length"],
        norm_chunk=known["chunk_length_norm_equality"],
        checks=known["num_wr_checks"],
        successes=known["num_wr_successes"],
        alpha=known["alpha"],
    )


def _compared(pine: Pine, known: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Every field in the order in which it is computed, and whether it came out as it should."""
    key, scale = bytes.fromhex(known["verify_key"]), 2.0 ** known["num_frac_bits"]
    totals = [np.zeros(pine.parameters.dimension, np.uint64)] * 2
    for i, case in enumerate(known["prep"]):
        at, nonce = f"prep[{i}].", bytes.fromhex(case["nonce"])
        vector = np.trunc(np.array(case["measurement"]) * scale).astype(np.int64)
        report = pine.shard(vector, nonce, bytes.fromhex(case["rand"]))
        yield f"{at}public_share", report.public.hex() == case["public_share"]
        for j in range(2):
            yield f"{at}input_shares[{j}]", report.shares[j].hex() == case["input_shares"][j]
        prepared = [pine.prepare(key, j, nonce, report.public, report.shares[j]) for j in range(2)]
        for j in range(2):
            yield f"{at}prep_shares[0][{j}]", prepared[j].message.hex() == case["prep_shares"][0][j]
        messages = prepared[0].message, prepared[1].message
        yield f"{at}prep_messages[0]", true_seeds(messages).hex() == case["prep_messages"][0]
        for j in range(2):
            output = pine.merge(prepared[j], messages)
            yield f"{at}out_shares[{j}]", bytes(to_bytes(output)).hex() == "".join(case["out_shares"][j])
            totals[j] = add(totals[j], output)
    for j in range(2):
        yield f"agg_shares[{j}]", bytes(to_bytes(totals[j])).hex() == known["agg_shares"][j]
    yield "agg_result", (centered(add(*totals)) / scale).tolist() == known["agg_result"]


def main(files: list[str]) -> int:
    """Check files; the exit code."""
    if not files:
        print("expected files of known answers, found none", file=sys.stderr)
        return 2
    for file in files:
        try:
            field = difference(Path(file))
        except SparseFedError as problem:
            print(problem, file=sys.stderr)
            return 2
        if field is not None:
            print(f"{file}: {field} differs", file=sys.stderr)
            return 1
        print(f"{file}: the same")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
