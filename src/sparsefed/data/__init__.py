"""Real data: one reader per data set, partitions into clients, batched augmentation, fetching on request."""

from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.digits import Digits
from sparsefed.data.mnist import MNIST, QMNIST, FashionMNIST
from sparsefed.data.partitions import IID, OneClass
from sparsefed.data.population import Partition, Population

__all__ = [
    "IID",
    "MNIST",
    "QMNIST",
    "Data",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "OneClass",
    "Partition",
    "Population",
    "Split",
]
