"""Which data sets there are, where their publishers keep them, and the checksums of their files."""

from collections.abc import Mapping

__all__ = ["DESCRIPTIONS", "FILES", "LEAF"]

LEAF = "prepare it with LEAF's own scripts (github.com/TalwalkarLab/leaf) and put train/ and test/ in"
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
KRIZ = "https://www.cs.toronto.edu/~kriz"
QMNIST = "https://raw.githubusercontent.com/facebookresearch/qmnist/master"
PLAYS = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare"

FILES: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        f"{MNIST}/train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        f"{MNIST}/train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        f"{MNIST}/t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        f"{MNIST}/t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion-mnist": {
        f"{FASHION}/train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        f"{FASHION}/train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        f"{FASHION}/t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        f"{FASHION}/t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    "qmnist": {f"{QMNIST}/qmnist-train-labels-idx2-int.gz": "md5:0058f8dd561b90ffdd0f734c6a30e5e4"},
    "cifar10": {f"{KRIZ}/cifar-10-python.tar.gz": "md5:c58f30108f718f92721af3b95e74349a"},
    "cifar100": {f"{KRIZ}/cifar-100-python.tar.gz": "md5:eb9058c3a382ffc7106e4002c42a8d85"},
    "shakespeare": {
        f"{PLAYS}/input.txt": "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    },
}
"""What each data set consists of, and the publishers' checksums."""

DESCRIPTIONS: Mapping[str, str] = {
    "digits": "UCI handwritten digits 8×8, 1,797, 10 classes",
    "mnist": "handwritten digits 28×28, 60,000 + 10,000, 10 classes",
    "fashion-mnist": "photographs of clothes 28×28, 60,000 + 10,000, 10 classes",
    "qmnist": "the 539 writers of MNIST's training digits (needs mnist too)",
    "cifar10": "color photographs 32×32, 50,000 + 10,000, 10 classes",
    "cifar100": "color photographs 32×32, 50,000 + 10,000, 100 classes",
    "femnist": "handwritten digits and letters 28×28 by writer, 62 classes (LEAF)",
    "shakespeare": "the plays by speaking part, as characters or words",
    "reddit": "comments by author, as words (LEAF)",
}
