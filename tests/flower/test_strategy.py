"""`RobustStrategy` on a grid in this process, whose nodes send whatever they like."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("flwr.serverapp", reason="needs Flower: make test-deploy")
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import sparsefed as sf
from sparsefed.flower import RobustStrategy
from sparsefed.flower.replies import named_arrays
from sparsefed.server import Keeper, Upload

TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # as in a ServerApp's process
SHAPES = {"weight": (7, 5), "bias": (7,), "scale": ()}
Node = Callable[[Message], Any]


def model(seed: int = 0) -> ArrayRecord:
    draw = np.random.default_rng(seed)
    return ArrayRecord(
        {name: Array(np.asarray(draw.normal(size=shape), "f4")) for name, shape in SHAPES.items()}
    )


def reply(message: Message, arrays: ArrayRecord, **metrics: Any) -> Message:
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10, **metrics})})
    return Message(content, reply_to=message)


def trained(message: Message) -> Message:
    """What an honest node sends: a function of the model, the round and the node."""
    if message.metadata.message_type == "evaluate":
        return reply(message, ArrayRecord(), accuracy=message.metadata.dst_node_id / 100)
    config, node = message.content["config"], message.metadata.dst_node_id
    draw = np.random.default_rng((int(config["server-round"]), node % 2**32))
    arrays = {
        name: Array(np.asarray(array - 0.1 * draw.normal(size=array.shape), "f4"))
        for name, array in named_arrays(message.content["arrays"]).items()
    }
    return reply(message, ArrayRecord(arrays), loss=1.0)


class FakeGrid:
    """A SuperLink's answers without a SuperLink; the replies of a round come in any order."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        self.nodes, self.sent, self.draw = nodes, dict[str, Message](), np.random.default_rng(1)

    def get_node_ids(self) -> Iterable[int]:
        return self.draw.permutation(np.array(list(self.nodes), object)).tolist()

    def push_messages(self, messages: list[Message]) -> list[str]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"message {len(self.sent)}"
            self.sent[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, identities: Iterable[str]) -> list[Any]:
        found = []
        for identity in identities:
            message = self.sent[identity]
            answer = self.nodes[message.metadata.dst_node_id](message)
            found += answer if isinstance(answer, list) else [answer]
        return found


def started(nodes: dict[int, Node], rounds: int = 1, rule: Any = None, **keys: Any) -> tuple[Any, Any]:
    strategy = RobustStrategy(rule or sf.SparseFed(k=9, momentum=0.9), sf.FixedClip(norm=0.5), **keys)
    return strategy, strategy.start(FakeGrid(nodes), model(), rounds, timeout=0)  # pyright: ignore


HONEST: dict[int, Node] = {2**63 + 5: trained, 11: trained, 3: trained, 7: trained}


def test_the_model_of_a_federation_is_the_keepers_with_the_nodes_in_order() -> None:
    strategy, result = started(HONEST, rounds=4, seed=3)
    keeper = Keeper(strategy.rules.but(rounds=4), named_arrays(model()))
    for round in range(1, 5):
        arrays = ArrayRecord({name: Array(array.copy()) for name, array in keeper.arrays().items()})
        content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": round})})
        replies = [trained(Message(content, node, "train")) for node in sorted(HONEST)]
        sent = [named_arrays(each.content["arrays"]) for each in replies]
        keeper.step([Upload(node, arrays) for node, arrays in zip(sorted(HONEST), sent, strict=True)])
    found = named_arrays(result.arrays)
    assert all(np.array_equal(found[name], array) for name, array in keeper.arrays().items())
    assert list(result.train_metrics_clientapp) == [1, 2, 3, 4]
    metrics = result.train_metrics_clientapp[4]
    assert metrics["nodes"] == sorted(HONEST)
    assert metrics["clipped"] == sorted(HONEST)
    assert metrics["left-out"] == []
    assert metrics["kept"] == 4.0
    assert metrics["median-loss"] == 1.0
    assert result.evaluate_metrics_clientapp[4]["accuracy"] == pytest.approx(0.09)


def test_a_restarted_server_goes_on_to_the_same_bits_and_does_not_repeat_rounds(tmp_path: Path) -> None:
    _, whole = started(HONEST, rounds=5)
    for rounds in (2, 3, 5, 5):
        _, part = started(HONEST, rounds=rounds, checkpoint=tmp_path / "server.safetensors")
    assert named_arrays(part.arrays).keys() == named_arrays(whole.arrays).keys()
    for name, array in named_arrays(whole.arrays).items():
        assert np.array_equal(named_arrays(part.arrays)[name], array)
    _, more = started(HONEST, rounds=7, checkpoint=tmp_path / "server.safetensors")
    assert list(more.train_metrics_clientapp) == [6, 7]


def with_arrays(change: Callable[[dict[str, Array], np.random.Generator], Any]) -> Callable[..., Any]:
    def node(message: Message, draw: np.random.Generator) -> Any:
        answer = trained(message)
        arrays = dict(answer.content["arrays"])
        change(arrays, draw)
        answer.content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": answer.content["metrics"]})
        return answer

    return node


def raw(array: Array, **parts: Any) -> Array:
    kept = {"dtype": array.dtype, "shape": array.shape, "stype": array.stype, "data": array.data}
    return Array(**{**kept, **parts})


def flipped(arrays: dict[str, Array], draw: np.random.Generator) -> None:
    """One byte of the header changed: a description of another array, or of none."""
    name = str(draw.choice(list(arrays)))
    data = bytearray(arrays[name].data)
    data[draw.integers(0, 100)] ^= int(draw.integers(1, 256))
    arrays[name] = raw(arrays[name], data=bytes(data))


def huge(arrays: dict[str, Array], draw: np.random.Generator) -> None:
    """A header that claims 10¹⁵ numbers which are not there."""
    data = arrays["bias"].data.replace(b"(7,), }" + b" " * 15, b"(1000000000000000,), }")
    arrays["bias"] = raw(arrays["bias"], data=data)


def with_content(content: Callable[[Message, np.random.Generator], RecordDict]) -> Callable[..., Any]:
    return lambda message, draw: Message(content(message, draw), reply_to=message)


def from_elsewhere(message: Message, draw: np.random.Generator) -> Message:
    answer = trained(message)
    answer.metadata.__dict__["_src_node_id"] = int(draw.integers(1, 2**62))
    return answer


def replayed(message: Message, draw: np.random.Generator) -> Message:
    answer = trained(message)
    answer.metadata.__dict__["_reply_to_message_id"] = f"message {draw.integers(-50, 0)}"
    return answer


def failing(message: Message, draw: np.random.Generator) -> Any:
    raise ValueError("this reply cannot be unpacked")


MALFORMED: dict[str, Callable[..., Any]] = {
    "no arrays": with_content(lambda m, d: RecordDict()),
    "two records": with_content(lambda m, d: RecordDict({"a": model(), "b": model()})),
    "only metrics": with_content(lambda m, d: RecordDict({"m": MetricRecord({"x": [1.0] * 9})})),
    "missing": with_arrays(lambda a, d: a.pop(str(d.choice(list(a))))),
    "unknown": with_arrays(lambda a, d: a.update({f"x{d.integers(9)}": Array(np.zeros(3))})),
    "shape": with_arrays(lambda a, d: a.update(weight=Array(d.normal(size=(5, 7)).astype("f4")))),
    "larger": with_arrays(lambda a, d: a.update(bias=Array(d.normal(size=int(d.integers(8, 99)))))),
    "large": with_arrays(lambda a, d: a.update(bias=Array(np.zeros(1_000_000, "f4")))),
    "many": with_arrays(lambda a, d: a.update({f"x{n}": Array(np.zeros(1)) for n in range(1000)})),
    "no numbers": with_arrays(lambda a, d: a.update(bias=Array(np.zeros((0, 7), "f4")))),
    "integers": with_arrays(lambda a, d: a.update(bias=Array(np.arange(7)))),
    "complex": with_arrays(lambda a, d: a.update(bias=Array(np.zeros(7, complex)))),
    "text": with_arrays(lambda a, d: a.update(bias=Array(np.array(["x"] * 7)))),
    "nan": with_arrays(lambda a, d: a.update(bias=Array(np.full(7, d.choice([np.nan, np.inf, -np.inf]))))),
    "overflow": with_arrays(lambda a, d: a.update(bias=Array(np.full(7, 1e300)))),
    "flipped": with_arrays(flipped),
    "huge": with_arrays(huge),
    "cut": with_arrays(lambda a, d: a.update(bias=raw(a["bias"], data=a["bias"].data[: d.integers(150)]))),
    "noise": with_arrays(lambda a, d: a.update(bias=raw(a["bias"], data=d.bytes(int(d.integers(300)))))),
    "pickle": with_arrays(lambda a, d: a.update(bias=raw(a["bias"], stype="pickle"))),
    "zip": with_arrays(lambda a, d: a.update(bias=raw(a["bias"], data=b"PK\x03\x04" + d.bytes(99)))),
    "error": lambda m, d: Message(Error(int(d.integers(9)), "\n\x00" * 9), reply_to=m),
    "two errors": lambda m, d: [Message(Error(1, "x"), reply_to=m) for _ in range(2)],
    "elsewhere": from_elsewhere,
    "replayed": replayed,
    "nothing": lambda m, d: [],
    "no message": lambda m, d: [d.choice([None, 3, "reply"])],
    "failing": failing,
}
"""Replies that must not count, whatever the numbers drawn in them."""


def test_of_a_thousand_malformed_replies_none_changes_the_state_or_stops_the_server() -> None:
    """The same federation with 40 more nodes, 1,000 replies in all, goes to the same bits."""
    count, rounds = 0, 25
    draw = np.random.default_rng(0)
    kinds = list(MALFORMED)

    def hostile(message: Message) -> Any:
        nonlocal count
        count += 1
        return MALFORMED[kinds[count % len(kinds)]](message, draw)

    alone, expected = started(HONEST, rounds=rounds, fraction_evaluate=0)
    nodes = {**HONEST, **{100 + node: hostile for node in range(40)}}
    strategy, found = started(nodes, rounds=rounds, fraction_evaluate=0)
    assert count == 1000
    for name, array in named_arrays(expected.arrays).items():
        assert np.array_equal(named_arrays(found.arrays)[name], array), name
    memories = alone._keeper.state.memory, strategy._keeper.state.memory
    assert all(torch.equal(*pair) for pair in zip(*memories, strict=True))
    for metrics in found.train_metrics_clientapp.values():
        assert metrics["admitted"] == 4
        assert metrics["skipped"] == 0
        assert metrics["left-out"] == [100 + node for node in range(40)]


def test_a_second_reply_to_the_same_message_does_not_count() -> None:
    def twice(message: Message) -> list[Message]:
        return [trained(message), reply(message, model(9))]

    _, once = started(HONEST)
    _, found = started({**HONEST, 7: twice})
    for name, array in named_arrays(once.arrays).items():
        assert np.array_equal(named_arrays(found.arrays)[name], array)


def test_hostile_metrics_move_a_median_no_further_than_the_others_sent_and_stop_nothing() -> None:
    def liar(message: Message) -> Message:
        return reply(message, model(), accuracy=1e308, **{f"key{number}": 1.0 for number in range(1000)})

    def mad(message: Message) -> Message:
        return Message(RecordDict({"m": MetricRecord({"accuracy": [1.0, 2.0]})}), reply_to=message)

    _, result = started({**HONEST, 99: liar, 98: mad})
    assert dict(result.evaluate_metrics_clientapp[1]) == {
        "num-examples": 10.0,
        "accuracy": pytest.approx(0.11),
    }


def test_a_round_in_which_too_few_answer_leaves_the_model_and_says_why() -> None:
    silent: dict[int, Node] = dict.fromkeys(HONEST, lambda _: [])
    strategy, result = started(silent, rounds=2, fraction_evaluate=0)
    for name, array in named_arrays(model()).items():
        assert np.array_equal(named_arrays(result.arrays)[name], array)
    assert strategy.report.skipped == "expected at least 1 usable updates, found 0"
    assert result.train_metrics_clientapp[2]["skipped"] == 1
    strategy, _ = started(HONEST, rule=sf.Krum(f=1))
    assert strategy.report.skipped == "Krum(f=1): expected at least 5 updates, found 4"


def test_who_is_drawn_follows_from_the_seed_and_the_round() -> None:
    nodes = dict.fromkeys(range(1, 21), trained)
    drawn = []
    for seed in (0, 0, 1):
        _, result = started(nodes, rounds=3, seed=seed, fraction_train=0.5)
        drawn.append([result.train_metrics_clientapp[round]["nodes"] for round in (1, 2, 3)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1]
    assert all(len(names) == 10 for names in drawn[0])


def test_a_strategy_can_be_made_of_an_experiment_and_its_metrics_are_json() -> None:
    experiment = sf.read_experiment(Path(__file__).parents[2] / "examples" / "digits.toml")
    strategy = RobustStrategy.of(experiment, min_train_nodes=3)
    assert (strategy.rules.defense, strategy.rules.clip) == (experiment.defense, experiment.clip)
    assert strategy.rules.lr(1) == experiment.schedule.lr(1, experiment.rounds)
    _, result = started(HONEST)
    json.dumps(dict(result.train_metrics_clientapp[1]))
    with pytest.raises(sf.SpecError, match="unknown key; did you mean `least`"):
        RobustStrategy(sf.Mean(), sf.Unclipped(), leest=3)
