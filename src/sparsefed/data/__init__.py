"""Real data: one reader per data set, partitions into clients, batched augmentation, fetching on request."""

from sparsefed.data.cifar import CIFAR10, CIFAR100
from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.digits import Digits
from sparsefed.data.dirichlet import Dirichlet
from sparsefed.data.femnist import FEMNIST
from sparsefed.data.fetch import available, fetch
from sparsefed.data.mnist import MNIST, QMNIST, FashionMNIST
from sparsefed.data.npz import Npz
from sparsefed.data.partitions import IID, Natural, OneClass
from sparsefed.data.population import Partition, Population
from sparsefed.data.reddit import Reddit
from sparsefed.data.shakespeare import Shakespeare, ShakespeareWords

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "FEMNIST",
    "IID",
    "MNIST",
    "QMNIST",
    "Data",
    "Dataset",
    "Digits",
    "Dirichlet",
    "FashionMNIST",
    "Natural",
    "Npz",
    "OneClass",
    "Partition",
    "Population",
    "Reddit",
    "Shakespeare",
    "ShakespeareWords",
    "Split",
    "available",
    "fetch",
]
