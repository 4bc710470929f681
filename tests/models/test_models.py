"""The models: exact sizes, shapes, seeded starts, and gradients that every engine can rely on."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from sparsefed.core.errors import SpecError
from sparsefed.models import CNN, LSTM, MLP, Linear, Model, ResNet9, ResNet101
from sparsefed.models.network import Network, mean_cross_entropy

IMAGE = (1, 28, 28)
SMALL = [
    (Linear(), (1, 8, 8)),
    (MLP(hidden=(7, 6)), (64,)),
    (CNN(width=3, hidden=5), (1, 8, 8)),
    (ResNet9(width=2), (3, 9, 11)),
    (ResNet101(width=2, blocks=(1, 1, 2, 1)), (1, 12, 9)),
    (LSTM(embedding=5, hidden=5), (6,)),
    (LSTM(embedding=4, hidden=5, layers=1, tied=False), (6,)),
]
CLASSES = 9
each_model = pytest.mark.parametrize(("model", "shape"), SMALL, ids=lambda value: str(value)[:40])
batchable = pytest.mark.parametrize(
    ("model", "shape"),
    [pair for pair in SMALL if not isinstance(pair[0], LSTM)],
    ids=lambda value: str(value)[:40],
)


def examples(model: Model, shape: tuple[int, ...], *lead: int) -> tuple[Tensor, Tensor]:
    """Random inputs `[*lead, *shape]` and labels."""
    draw = torch.Generator().manual_seed(0)
    if isinstance(model, LSTM):
        tokens = torch.randint(CLASSES, (*lead, *shape), generator=draw)
        return tokens, tokens.roll(-1, dims=-1)
    return torch.randn(*lead, *shape, generator=draw), torch.randint(CLASSES, lead, generator=draw)


@pytest.mark.parametrize(
    ("model", "shape", "classes", "size"),
    [
        (Linear(), IMAGE, 10, 784 * 10 + 10),
        (Linear(bias=False), (64,), 10, 640),
        (MLP(), IMAGE, 10, 199_210),
        (MLP(hidden=()), IMAGE, 10, 7_850),
        (CNN(), IMAGE, 10, 220_234),
        (ResNet9(), (3, 32, 32), 10, 6_568_640),
        (ResNet9(), (3, 32, 32), 100, 6_614_720),
        (ResNet9(), IMAGE, 10, 6_567_488),
        (ResNet9(width=16), (3, 32, 32), 10, 411_824),
        (ResNet101(), IMAGE, 62, 43_124_350),
        (LSTM(), (64,), 50_000, 10_693_200),
        (LSTM(tied=False), (64,), 50_000, 20_693_200),
    ],
    ids=str,
)
def test_a_model_has_exactly_the_published_number_of_parameters(model, shape, classes, size):
    with torch.device("meta"):
        assert Network(model.build(shape, classes)).size == size


def test_the_resnets_and_the_cnn_map_images_of_every_usual_size_to_logits():
    for model in (CNN(), ResNet9(width=2), ResNet101(width=1, blocks=(1, 1, 1, 1))):
        for shape in ((1, 8, 8), IMAGE, (3, 32, 32), (3, 64, 48)):
            assert model.network(shape, 10, seed=0).module(torch.zeros(2, *shape)).shape == (2, 10)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 70), width=st.integers(8, 70))
def test_resnet9_always_pools_down_to_one_pixel(height, width):
    module = ResNet9(width=1).network((1, height, width), 3, seed=0).module
    assert module[:-3](torch.zeros(1, 1, height, width)).shape == (1, 8, 1, 1)


def test_the_full_resnet101_computes_finite_logits_on_femnist_images():
    module = ResNet101().network(IMAGE, 62, seed=1).module
    with torch.no_grad():
        logits = module(torch.rand(2, *IMAGE))
    assert logits.shape == (2, 62)
    assert logits.isfinite().all()


@each_model
def test_logits_are_per_example_or_per_token(model, shape):
    inputs, labels = examples(model, shape, 4)
    logits = model.network(shape, CLASSES, seed=0).module(inputs)
    assert logits.shape == (*labels.shape, CLASSES)
    apart = torch.cat([model.network(shape, CLASSES, seed=0).module(one) for one in inputs.split(1)])
    torch.testing.assert_close(logits, apart)


@each_model
def test_initial_weights_depend_on_the_seed_and_on_nothing_else(model, shape):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = model.network(shape, CLASSES, seed=3).vector()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(model.network(shape, CLASSES, seed=3).vector(), first)
    assert not torch.equal(model.network(shape, CLASSES, seed=4).vector(), first)


def test_a_linear_model_may_start_at_zero():
    assert Linear(zeros=True).network(IMAGE, 10, seed=0).vector().count_nonzero() == 0


@each_model
def test_gradients_are_finite_reach_every_layer_and_agree_in_float64(model, shape):
    inputs, labels = examples(model, shape, 4)
    network = model.network(shape, CLASSES, seed=0)
    single = network.gradient(inputs, labels)
    network.module.double()
    double = network.gradient(inputs if isinstance(model, LSTM) else inputs.double(), labels)
    assert double.dtype == torch.float64
    assert all(part.any() for part in network.views(double))
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


@batchable
def test_vmap_of_the_gradient_is_the_gradient_of_each_client(model, shape):
    inputs, labels = examples(model, shape, 3, 2)
    network = model.network(shape, CLASSES, seed=0)

    def loss(params, inputs, labels):
        return mean_cross_entropy(functional_call(network.module, params, (inputs,)), labels)

    params = {name: parameter.detach() for name, parameter in network.module.named_parameters()}
    batched = vmap(grad(loss), in_dims=(None, 0, 0))(params, inputs, labels)
    rows = torch.cat([part.flatten(1) for part in batched.values()], dim=1)
    alone = torch.stack([network.gradient(x, y) for x, y in zip(inputs, labels, strict=True)])
    torch.testing.assert_close(rows, alone, rtol=1e-4, atol=1e-5)


@each_model
def test_no_parametrised_layer_is_called_twice_in_one_pass(model, shape):
    calls: list[nn.Module] = []
    module = model.network(shape, CLASSES, seed=0).module
    for layer in module.modules():
        if list(layer.parameters(recurse=False)):
            layer.register_forward_hook(lambda layer, *_: calls.append(layer))
    module(examples(model, shape, 2)[0])
    assert len(calls) == len(set(calls)) > 0


@pytest.mark.parametrize("model", [CNN(width=3), ResNet9(width=2), ResNet101(width=2, blocks=(1, 1, 1, 1))])
def test_channels_last_changes_nothing_but_the_layout(model):
    inputs, labels = examples(model, (3, 16, 16), 4)
    network = model.network((3, 16, 16), CLASSES, seed=0)
    expected = network.gradient(inputs, labels)
    network.module.to(memory_format=torch.channels_last)
    found = network.gradient(inputs.contiguous(memory_format=torch.channels_last), labels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_resnet9_scales_its_logits_by_an_eighth():
    module = ResNet9(width=2).network(IMAGE, 10, seed=0).module
    inputs = torch.rand(2, *IMAGE)
    assert torch.equal(module(inputs), module[:-1](inputs) / 8)


@pytest.mark.parametrize(
    ("model", "shape", "complaint"),
    [
        (
            ResNet9(),
            (64,),
            r"ResNet9: expected images \[channels, height, width\] of at least 8×8 .*found .*\[64\]",
        ),
        (ResNet9(), (1, 7, 28), r"at least 8×8 pixels, found inputs of shape \[1, 7, 28\]"),
        (CNN(), (1, 28, 3), r"CNN: expected images .*4×4 pixels, found inputs of shape \[1, 28, 3\]"),
        (ResNet101(), (28, 28), r"ResNet101: expected images .*found inputs of shape \[28, 28\]"),
        (LSTM(), (1, 8, 8), r"LSTM: expected tokens \[length\], found inputs of shape \[1, 8, 8\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named_with_what_is_needed(model, shape, complaint):
    with pytest.raises(SpecError, match=complaint):
        model.network(shape, 10, seed=0)


def test_impossible_options_are_refused():
    for broken in (lambda: MLP(hidden=(0,)), lambda: CNN(width=0), lambda: LSTM(dropout=1.0)):
        with pytest.raises(SpecError, match="expected"):
            broken()


def test_every_model_survives_its_own_dictionary():
    for model, _ in SMALL:
        assert Model.model_validate(model.to_dict()) == model
