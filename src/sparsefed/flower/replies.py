"""Replies of Flower nodes, which may be anything, as uploads and metrics that can be read safely."""

# pyright: reportMissingImports=false
# Flower is installed in an environment of its own (make test-deploy).

import math
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message

from sparsefed.core.text import amount, one_line
from sparsefed.server import Upload, medians

__all__ = ["attributed", "named_arrays", "node_metrics", "uploads"]

MOST_HEADER = 1000
"""Bytes of an array's description; more is no array."""


def attributed(asked: Iterable[Message], replies: Iterable[Any]) -> tuple[dict[int, Any], list[str]]:
    """The reply of each node that was asked, or why it has none; and what else has come, in words.

    A reply counts where it answers the very message that was sent to its node in this round: a late one, one
    replayed from an earlier round, and a second one to the same message are not looked at.
    """
    nodes = {message.metadata.message_id: message.metadata.dst_node_id for message in asked}
    found: dict[int, Any] = dict.fromkeys(sorted(nodes.values()), "expected a reply, found none")
    strangers = []
    for reply in replies:
        try:
            metadata, failed = reply.metadata, reply.has_error()
            node = nodes.get(metadata.reply_to_message_id)
            if node is None:
                strangers.append(f"node {metadata.src_node_id}: late, or replayed from another round")
            elif not failed and metadata.src_node_id != node:
                strangers.append(f"node {metadata.src_node_id}: answers for node {node}")
            elif not isinstance(found[node], str):
                strangers.append(f"node {node}: another reply to the same message")
            elif failed:
                found[node] = f"expected a reply, found an error: {one_line(reply.error.reason)}"
            else:
                found[node] = reply.content
        except Exception as problem:  # its fields are whatever the node wrote
            strangers.append(f"a malformed reply: {one_line(problem)}")
    return found, strangers


def uploads(contents: Mapping[int, Any]) -> list[Upload]:
    """What `attributed` found, as uploads in the order of the nodes' ids."""
    return [Upload(node, _arrays(contents[node])) for node in sorted(contents)]


def named_arrays(record: ArrayRecord) -> dict[str, np.ndarray]:
    """The arrays of a record of the server's own; raises `ValueError` for what is no array."""
    return {name: _numpy(array) for name, array in record.items()}


def _arrays(content: Any) -> dict[str, Any] | str:
    """A node's arrays by name, or what was found in their place."""
    if isinstance(content, str):
        return content
    try:
        records = list(content.array_records.values())
        if len(records) != 1:
            return f"expected one record of arrays, found {len(records)}"
        return named_arrays(records[0])
    except Exception as problem:
        return f"expected arrays, found {one_line(problem)}"


def _numpy(array: Array) -> np.ndarray:
    """The array in its own memory: only its header is read, and nothing is allocated that it claims."""
    if array.stype != "numpy.ndarray":
        raise ValueError(f"an array of type {array.stype}")
    file = BytesIO(array.data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=MOST_HEADER)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}")
    if dtype.itemsize * math.prod(shape) != len(array.data) - file.tell():
        raise ValueError(f"an array of shape {shape} in {amount(len(array.data), 'byte')}")
    numbers = np.frombuffer(array.data, dtype, offset=file.tell())
    return numbers.reshape(shape[::-1]).T if fortran else numbers.reshape(shape)


def node_metrics(contents: Mapping[int, Any]) -> dict[str, float]:
    """`medians` of what the nodes report."""
    return medians((_numbers(content) for content in contents.values()), len(contents))


def _numbers(content: Any) -> dict[str, Any]:
    try:
        (record,) = content.metric_records.values()
        return dict(record)
    except Exception:  # no metrics, several records, or none that can be read
        return {}
