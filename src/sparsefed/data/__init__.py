"""Real data: one reader per data set, partitions into clients, batched augmentation, fetching on request."""

from sparsefed.data.dataset import Data, Dataset, Split
from sparsefed.data.fetch import available, fetch
from sparsefed.data.holdout import Holdout
from sparsefed.data.partitions.deal import IID, Natural, OneClass
from sparsefed.data.partitions.dirichlet import Dirichlet
from sparsefed.data.partitions.population import Partition, Population
from sparsefed.data.readers.cifar import CIFAR10, CIFAR100
from sparsefed.data.readers.digits import Digits
from sparsefed.data.readers.femnist import FEMNIST
from sparsefed.data.readers.mnist import MNIST, QMNIST, FashionMNIST
from sparsefed.data.readers.npz import Npz
from sparsefed.data.readers.reddit import Reddit
from sparsefed.data.readers.shakespeare import Shakespeare, ShakespeareWords
from sparsefed.data.readers.table import Csv, Parquet
from sparsefed.data.unaugmented import Unaugmented

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "Csv",
    "FEMNIST",
    "Holdout",
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
    "Parquet",
    "Partition",
    "Population",
    "Reddit",
    "Shakespeare",
    "ShakespeareWords",
    "Split",
    "Unaugmented",
    "available",
    "fetch",
]
