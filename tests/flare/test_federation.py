"""`RobustFedAvg` in this process, through FLARE's own code, with clients that send anything."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("nvflare", reason="needs NVIDIA FLARE: make test-deploy")
from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.abstract.learnable_persistor import LearnablePersistor
from nvflare.app_common.abstract.model import ModelLearnable, ModelLearnableKey, make_model_learnable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

import sparsefed as sf
from sparsefed.flare import RobustAggregator, RobustFedAvg
from sparsefed.server import Keeper, Rules, Upload

SHAPES = {"weight": (7, 5), "bias": (7,), "scale": ()}
RULES = Rules(defense=sf.SparseFed(k=9, momentum=0.9), clip=sf.FixedClip(norm=0.5), seed=3)
Answer = Callable[[Shareable, str], Any]


def model() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {name: np.asarray(draw.normal(size=shape), "f4") for name, shape in SHAPES.items()}


def moved(arrays: dict[str, np.ndarray], client: str, round: int) -> dict[str, np.ndarray]:
    """What an honest client makes of the model: a function of the model, the client and the round."""
    draw = np.random.default_rng((round, *client.encode()))
    return {
        name: np.asarray(array - 0.1 * draw.normal(size=array.shape), "f4") for name, array in arrays.items()
    }


def honest(asked: Shareable, client: str) -> Shareable:
    task = FLModelUtils.from_shareable(asked)
    assert task.current_round is not None
    params = moved(task.params, client, task.current_round + 1)
    return FLModelUtils.to_shareable(
        FLModel(params=params, metrics={"loss": 1.0}, current_round=task.current_round)
    )


class Saved(LearnablePersistor):
    """FLARE's place for the global model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model_learnable(model(), {})

    def load(self, fl_ctx: FLContext) -> ModelLearnable:
        return self.model

    def save(self, learnable: ModelLearnable, fl_ctx: FLContext) -> None:
        self.model = learnable


class Engine:
    """A server's engine that knows the clients."""

    def __init__(self, names: Sequence[str]) -> None:
        self.clients = [Client(name, name) for name in names]

    def get_clients(self) -> list[Client]:
        return self.clients

    def fire_event(self, *_: Any) -> None:
        pass


class InProcess(RobustFedAvg):
    """The workflow, whose tasks are answered at once, by functions."""

    def __init__(self, clients: dict[str, Answer], rounds: int, **keys: Any) -> None:
        aggregator = RobustAggregator(keys.pop("rules", RULES), keys.pop("checkpoint", None))
        super().__init__(
            num_clients=keys.pop("count", len(clients)), num_rounds=rounds, aggregator=aggregator
        )
        self.answers, self.persistor, self.abort_signal = clients, Saved(), Signal()
        self.engine, self.fl_ctx = Engine(list(clients)), FLContext()
        self.panics, self.asked = [], []

    def fire_event(self, *_: Any, **__: Any) -> None:
        pass

    def panic(self, reason: str) -> None:
        self.panics.append(reason)

    def get_num_standing_tasks(self) -> int:
        return 0

    def broadcast(self, task: Task, targets: list[str], **_: Any) -> None:
        self.asked.append(targets)
        for name in reversed(targets):
            found = self.answers[name](task.data, name)
            for result in found if isinstance(found, list) else [found]:
                client_task = ClientTask(Client(name, name), task)
                client_task.result = result
                self._process_result(client_task, FLContext())


def played(clients: dict[str, Answer], rounds: int = 1, **keys: Any) -> InProcess:
    workflow = InProcess(clients, rounds, **keys)
    workflow.run()
    assert not workflow.panics
    return workflow


def state(workflow: InProcess) -> Any:
    return workflow.aggregator.keeper.state


def same(a: InProcess, b: InProcess) -> bool:
    pairs = zip(state(a).memory, state(b).memory, strict=True)
    return torch.equal(state(a).params, state(b).params) and all(torch.equal(*pair) for pair in pairs)


HONEST: dict[str, Answer] = dict.fromkeys(("site-1", "site-2", "site-3", "site-9"), honest)


def test_the_model_is_the_keepers_with_the_clients_in_order_and_is_where_flare_keeps_it() -> None:
    workflow = played(HONEST, rounds=4)
    keeper = Keeper(RULES.but(rounds=4), model())
    for round in range(1, 5):
        sent = {name: moved(keeper.arrays(), name, round) for name in sorted(HONEST)}
        report = keeper.step([Upload(name, arrays) for name, arrays in sent.items()])
    assert torch.equal(state(workflow).params, keeper.state.params)
    assert str(workflow.aggregator.report) == str(report)
    saved = workflow.persistor.model[ModelLearnableKey.WEIGHTS]
    assert all(np.array_equal(saved[name], array) for name, array in keeper.arrays().items())


def test_a_job_with_the_same_checkpoint_goes_on_to_the_same_bits_and_does_not_repeat_rounds(
    tmp_path: Path,
) -> None:
    whole = played(HONEST, rounds=5)
    for rounds in (2, 3, 5, 5):
        part = played(HONEST, rounds=rounds, checkpoint=str(tmp_path / "server.safetensors"))
    assert same(part, whole)
    assert part.asked == []
    more = played(HONEST, rounds=7, checkpoint=str(tmp_path / "server.safetensors"))
    assert len(more.asked) == 2


def result(data: Any, kind: str = DataKind.WEIGHTS, meta: Any = None) -> Shareable:
    """As a client packs it; `DXO` itself refuses some of what a hostile one can send."""
    packed = DXO(DataKind.WEIGHTS, {"x": 1}).to_shareable()
    packed["DXO"] = {"kind": kind, "data": data, "meta": meta or {}}
    return packed


def with_arrays(change: Callable[[dict[Any, Any], np.random.Generator], Any]) -> Callable[..., Any]:
    def client(asked: Shareable, draw: np.random.Generator) -> Shareable:
        answer = honest(asked, "eve")
        arrays = FLModelUtils.from_shareable(answer).params
        change(arrays, draw)
        packed = result(arrays)
        packed["DXO"] = {**answer["DXO"], "data": arrays}
        return packed

    return client


def with_header(key: str, values: Sequence[Any]) -> Callable[..., Any]:
    def client(asked: Shareable, draw: np.random.Generator) -> Shareable:
        answer = honest(asked, "eve")
        answer.set_header(key, values[int(draw.integers(len(values)))])
        return answer

    return client


def other_round(asked: Shareable, draw: np.random.Generator) -> Shareable:
    answer = honest(asked, "eve")
    round = asked.get_header(AppConstants.CURRENT_ROUND)
    answer.set_header(AppConstants.CURRENT_ROUND, round + 1 + int(draw.integers(9)))
    return answer


def huge(arrays: dict[str, Any], draw: np.random.Generator) -> None:
    arrays["bias"] = np.broadcast_to(np.float32(1), (10**15,))


MALFORMED: dict[str, Callable[..., Any]] = {
    "empty": lambda a, d: Shareable(),
    "error": lambda a, d: make_reply(str(d.choice([ReturnCode.EXECUTION_EXCEPTION, "x", "TASK_ABORTED"]))),
    "return code": with_header("__rc__", ["x", 3, [1], {"a": 1}]),
    "no kind": lambda a, d: result({"weight": 1}, kind="nothing"),
    "metrics": lambda a, d: DXO(DataKind.METRICS, {"loss": 1.0}).to_shareable(),
    "difference": lambda a, d: result(model(), kind=DataKind.WEIGHT_DIFF),
    "list": lambda a, d: result([1.0, 2.0]),
    "array": lambda a, d: result(d.normal(size=int(d.integers(1, 9)))),
    "text": lambda a, d: result("weights"),
    "none": lambda a, d: result(None),
    "no arrays": lambda a, d: result({}),
    "meta": lambda a, d: result(model(), meta=[1, 2]),
    "initial metrics": lambda a, d: result({"x": 1.0}, meta={"initial_metrics": [1]}),
    "missing": with_arrays(lambda a, d: a.pop(str(d.choice(list(a))))),
    "unknown": with_arrays(lambda a, d: a.update({f"x{d.integers(9)}": np.zeros(3)})),
    "number as a name": with_arrays(lambda a, d: a.update({int(d.integers(9)): np.zeros(3)})),
    "shape": with_arrays(lambda a, d: a.update(weight=d.normal(size=(5, 7)))),
    "larger": with_arrays(lambda a, d: a.update(bias=d.normal(size=int(d.integers(8, 99))))),
    "huge": with_arrays(huge),
    "integers": with_arrays(lambda a, d: a.update(bias=np.arange(7))),
    "complex": with_arrays(lambda a, d: a.update(bias=np.zeros(7, complex))),
    "words": with_arrays(lambda a, d: a.update(bias=np.array(["x"] * 7))),
    "objects": with_arrays(lambda a, d: a.update(bias=np.array([None] * 7))),
    "records": with_arrays(lambda a, d: a.update(bias=np.zeros(7, [("x" * 500, "f4")]))),
    "numbers": with_arrays(lambda a, d: a.update(scale=3.0)),
    "lists": with_arrays(lambda a, d: a.update(bias=[0.0] * 7)),
    "nested": with_arrays(lambda a, d: a.update(bias={"bias": np.zeros(7)})),
    "nan": with_arrays(lambda a, d: a.update(bias=np.full(7, d.choice([np.nan, np.inf, -np.inf])))),
    "overflow": with_arrays(lambda a, d: a.update(bias=np.full(7, 1e300))),
    "round": other_round,
    "no round": with_header(AppConstants.CURRENT_ROUND, [-1, "x", [3], 1.5]),
    "nothing": lambda a, d: [],
}
"""Results that must not count, whatever the numbers drawn in them."""


def test_of_a_thousand_malformed_results_none_changes_the_state_or_stops_the_job() -> None:
    """The same federation with 40 more clients, 1,000 results in all, goes to the same bits."""
    count, rounds, kinds, draw = 0, 25, list(MALFORMED), np.random.default_rng(0)

    def hostile(asked: Shareable, client: str) -> Any:
        nonlocal count
        count += 1
        return MALFORMED[kinds[count % len(kinds)]](asked, draw)

    alone = played(HONEST, rounds=rounds)
    found = played({**HONEST, **{f"eve-{number}": hostile for number in range(40)}}, rounds=rounds)
    assert count == 1000
    assert same(found, alone)
    report = found.aggregator.report
    assert report is not None
    assert [node.client for node in report.nodes if not node.problem] == sorted(HONEST)
    assert len(report.nodes) == 44


@pytest.mark.parametrize("kind", list(MALFORMED))
def test_each_kind_of_malformed_result_is_left_out(kind: str) -> None:
    draw = np.random.default_rng(1)
    found = played({**HONEST, "eve": lambda asked, _: MALFORMED[kind](asked, draw)})
    assert found.aggregator.report is not None
    assert [node.client for node in found.aggregator.report.nodes if node.problem] == ["eve"]
    assert same(found, played(HONEST))


def test_a_second_result_and_one_that_nobody_asked_for_do_not_count() -> None:
    def twice(asked: Shareable, client: str) -> list[Shareable]:
        return [honest(asked, client), honest(asked, "eve")]

    found = played({**HONEST, "site-9": twice})
    assert same(found, played(HONEST))
    before = state(found)
    found.aggregator.accept_model(FLModel(ParamsType.FULL, model(), meta={"client_name": "eve"}))
    assert state(found) is before


def test_a_round_in_which_too_few_answer_leaves_the_model_and_says_why() -> None:
    silent: dict[str, Answer] = dict.fromkeys(HONEST, lambda *_: [])
    workflow = played(silent, rounds=2)
    assert workflow.aggregator.report is not None
    assert workflow.aggregator.report.skipped == "expected at least 1 usable updates, found 0"
    assert all(
        np.array_equal(array, model()[name]) for name, array in workflow.aggregator.keeper.arrays().items()
    )


def test_who_is_drawn_follows_from_the_seed_and_the_round() -> None:
    clients: dict[str, Answer] = {f"site-{number}": honest for number in range(20)}
    first, again, other = (
        played(clients, rounds=3, count=10, rules=RULES.but(seed=seed)).asked for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first[0] != first[1]
    assert all(len(names) == 10 for names in first)


def test_a_metric_is_the_median_and_a_minority_adds_no_key() -> None:
    def liar(asked: Shareable, client: str) -> Shareable:
        answer = honest(asked, client)
        task = FLModelUtils.from_shareable(answer)
        task.metrics = {"loss": 1e308, "mine": 1.0, "list": [1.0]}
        return FLModelUtils.to_shareable(task)

    class Told(InProcess):
        def update_model(self, model: FLModel, aggr_result: FLModel) -> FLModel:
            self.told = dict(aggr_result.metrics or {})
            return super().update_model(model, aggr_result)

    workflow = Told({**HONEST, "eve": liar}, 1)
    workflow.run()
    assert workflow.told == {"loss": 1.0}


def test_an_aggregator_without_its_workflow_says_what_it_needs() -> None:
    with pytest.raises(sf.SpecError, match="use RobustRecipe"):
        RobustAggregator(RULES).aggregate_model()
