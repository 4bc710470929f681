"""The models of the paper, and a door for any other: `type = "my_module:MyModel"`."""

from sparsefed.models.base import Model
from sparsefed.models.cnn import CNN
from sparsefed.models.custom import Custom
from sparsefed.models.group_norm import with_group_norm
from sparsefed.models.linear import Linear
from sparsefed.models.lstm import LSTM
from sparsefed.models.mlp import MLP
from sparsefed.models.resnet9 import ResNet9
from sparsefed.models.resnet101 import ResNet101

__all__ = ["CNN", "LSTM", "MLP", "Custom", "Linear", "Model", "ResNet9", "ResNet101", "with_group_norm"]
