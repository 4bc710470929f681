"""The models of the paper, and a door for any other: `type = "my_module:MyModel"`."""

from sparsefed.models.base import Model
from sparsefed.models.cnn import CNN
from sparsefed.models.custom import Custom
from sparsefed.models.diffusion import Diffusion, Together, UnitLength
from sparsefed.models.features import Backbone, Features, RandomConvolutions
from sparsefed.models.group_norm import with_group_norm
from sparsefed.models.head import Head
from sparsefed.models.linear import Linear
from sparsefed.models.lstm import LSTM
from sparsefed.models.mlp import MLP
from sparsefed.models.resnet9 import ResNet9
from sparsefed.models.resnet101 import ResNet101

__all__ = [
    "CNN",
    "LSTM",
    "MLP",
    "Backbone",
    "Custom",
    "Diffusion",
    "Features",
    "Head",
    "Linear",
    "Model",
    "RandomConvolutions",
    "ResNet101",
    "ResNet9",
    "Together",
    "UnitLength",
    "with_group_norm",
]
