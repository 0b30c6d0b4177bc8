"""The named data sets: a plain dictionary, read without importing torch or opening a file.

Each entry says where its bytes came from and what is published on it. `loading.load` reads the files, and
`table_loading.load_table` those of tables with columns of different kinds, `text_loading.load_text` texts.
"""

from __future__ import annotations

from chainrule.data.anomaly_entries import ANOMALY_TABLES
from chainrule.data.audio_entries import AUDIO
from chainrule.data.entries import DatasetEntry
from chainrule.data.files import DataFile
from chainrule.data.published import BINARIZED_MNIST, CALTECH_SILHOUETTES, CIFAR10, DYNAMIC_MNIST
from chainrule.data.tables import TABLES
from chainrule.data.text_entries import TEXTS
from chainrule.data.uci_entries import UCI_TABLES

__all__ = ["CATALOGUE"]

_MNIST_SPLITS = {"train": 50_000, "validation": 10_000, "test": 10_000}

_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_AMAT_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"


def _file(path: str, size: int, sha256: str, url: str) -> DataFile:
    return DataFile(path, size, sha256, url + path.rpartition("/")[2])


# In the order in which the idx loader takes them: train images and labels, test images and labels.
_MNIST_FILES = (
    _file(
        "mnist/train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        _MNIST_URL,
    ),
    _file(
        "mnist/train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        _MNIST_URL,
    ),
    _file(
        "mnist/t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        _MNIST_URL,
    ),
    _file(
        "mnist/t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        _MNIST_URL,
    ),
)

_FASHION_FILES = (
    _file(
        "fashion_mnist/train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        _FASHION_URL,
    ),
    _file(
        "fashion_mnist/train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        _FASHION_URL,
    ),
    _file(
        "fashion_mnist/t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        _FASHION_URL,
    ),
    _file(
        "fashion_mnist/t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        _FASHION_URL,
    ),
)

_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

# The text files as they were published: the same rows in the same order as the .npz.
_AMAT_FILES = (
    _file(
        "binarized_mnist/binarized_mnist_train.amat",
        78_400_000,
        "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        _AMAT_URL,
    ),
    _file(
        "binarized_mnist/binarized_mnist_valid.amat",
        15_680_000,
        "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        _AMAT_URL,
    ),
    _file(
        "binarized_mnist/binarized_mnist_test.amat",
        15_680_000,
        "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
        _AMAT_URL,
    ),
)

_IMAGES = (
    DatasetEntry(
        name="digits",
        description="Handwritten digits of 8 x 8 pixels from scikit-learn, 1 where a grey level of 0 to 16 "
        "is above 7, split in file order: the first 1,197, the next 300, the last 300.",
        event_shape=(1, 8, 8),
        levels=2,
        kind="image",
        splits={"train": 1197, "validation": 300, "test": 300},
        licence="BSD 3-clause (scikit-learn); CC BY 4.0 (UCI)",
        source="sklearn.datasets.load_digits, the test part of UCI's optdigits",
        form="embedded",
    ),
    DatasetEntry(
        name="binarized-mnist",
        description="Statically binarized MNIST, the fixed files in the published order. No labels: row i is "
        "not MNIST's image i. Not comparable with dynamic-mnist.",
        event_shape=(1, 28, 28),
        levels=2,
        kind="image",
        splits=_MNIST_SPLITS,
        licence="none stated for the data",
        source="Salakhutdinov & Murray 2008, Larochelle & Murray 2011; the .amat files' rows",
        form="bits",
        files=(
            DataFile(
                "binarized_mnist/binarized_mnist.npz",
                2_296_106,
                "e8f506ef608196c8e1894acd95621ff249c1b0d0ffc1956041b45320e4522216",
            ),
        ),
        alternative_files=_AMAT_FILES,
        published=BINARIZED_MNIST,
    ),
    DatasetEntry(
        name="dynamic-mnist",
        description="MNIST with every pixel drawn from Bernoulli(grey / 255) at each use. Not comparable "
        "with binarized-mnist; scores are taken on one draw with a stated seed (Dataset.evaluation_split).",
        event_shape=(1, 28, 28),
        levels=2,
        kind="image",
        splits=_MNIST_SPLITS,
        licence="none stated for MNIST",
        source="LeCun, Cortes & Burges; validation is the last 10,000 training images",
        form="idx",
        files=_MNIST_FILES,
        dynamic=True,
        published=DYNAMIC_MNIST,
    ),
    DatasetEntry(
        name="mnist",
        description="Handwritten digits of 28 x 28 pixels in 256 grey levels, with labels.",
        event_shape=(1, 28, 28),
        levels=256,
        kind="image",
        splits=_MNIST_SPLITS,
        licence="none stated for MNIST",
        source="LeCun, Cortes & Burges; validation is the last 10,000 training images",
        form="idx",
        files=_MNIST_FILES,
    ),
    DatasetEntry(
        name="fashion-mnist",
        description="Articles of clothing of 28 x 28 pixels in 256 grey levels, with labels of ten kinds.",
        event_shape=(1, 28, 28),
        levels=256,
        kind="image",
        splits=_MNIST_SPLITS,
        licence="MIT",
        source="zalandoresearch/fashion-mnist; validation is the last 10,000 training images",
        form="idx",
        files=_FASHION_FILES,
        classes=(
            *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
    ),
    DatasetEntry(
        name="cifar10-subset",
        description="A subset of CIFAR-10, in colour: 10,000 of the 50,000 training images, the last "
        "1,000 of them for validation, and all 10,000 test images. Models trained on it are not "
        "comparable with published ones, which saw five times as many images; cifar10 is the whole.",
        event_shape=(3, 32, 32),
        levels=256,
        kind="image",
        splits={"train": 9_000, "validation": 1_000, "test": 10_000},
        licence="not stated",
        source="Krizhevsky 2009; cyizhuo/CIFAR-10-dataset, commit a828d74",
        form="images",
        files=(
            DataFile(
                "cifar10/cifar10_subset.npz",
                46_647_763,
                "e5ad51a28df97218e9bec8feea7d25a3b242833ceec6e1ef2b6666019113433b",
            ),
        ),
        classes=_CIFAR_CLASSES,
    ),
    DatasetEntry(
        name="cifar10",
        description="CIFAR-10 whole: photographs of 32 x 32 pixels in colour, with labels of ten kinds; "
        "validation is the last 5,000 training images.",
        event_shape=(3, 32, 32),
        levels=256,
        kind="image",
        splits={"train": 45_000, "validation": 5_000, "test": 10_000},
        licence="not stated",
        source="Krizhevsky 2009; the binary version of the author's page",
        form="cifar",
        files=(
            _file(
                "cifar10/cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                "https://www.cs.toronto.edu/~kriz/",
            ),
        ),
        published=CIFAR10,
        classes=_CIFAR_CLASSES,
    ),
    DatasetEntry(
        name="frey-faces",
        description="Frames of a video of one face, 28 x 20 pixels in 256 grey levels, in the order of the "
        "video: the first 1,565, the next 200, the last 200. Neighbouring frames are nearly the same; "
        "published results shuffle them before splitting, so that almost-copies of the test frames are "
        "trained on, and are not comparable.",
        event_shape=(1, 28, 20),
        levels=256,
        kind="image",
        splits={"train": 1_565, "validation": 200, "test": 200},
        licence="not stated for the data",
        source="Brendan Frey; jmtomczak/vae_vampprior, datasets/Freyfaces, commit bb6ff3e",
        form="images",
        files=(
            DataFile(
                "frey_faces/frey_faces.npz",
                996_890,
                "3c70375e0a9c4751ad49ad5f1f692bd094c46f133cf4aa8ea77d1cb14e1efcd1",
            ),
        ),
    ),
    DatasetEntry(
        name="caltech-silhouettes",
        description="Outlines of the objects of Caltech-101, filled. The file is your own: an .npz with "
        "train, valid and test, either 0 / 1 arrays (N, 784) or (N, 28, 28) with upright rows, or packed "
        "bits with n_vars = 784. The original .mat stores its pixels column by column: transpose each image.",
        event_shape=(1, 28, 28),
        levels=2,
        kind="image",
        splits={"train": 4100, "validation": 2264, "test": 2307},
        licence="not stated",
        source="Marlin et al. 2010, caltech101_silhouettes_28_split1.mat",
        form="bits",
        files=(DataFile("caltech_silhouettes/caltech_silhouettes.npz"),),
        published=CALTECH_SILHOUETTES,
    ),
    DatasetEntry(
        name="omniglot",
        description="Characters of 50 alphabets. The file is your own: an .npz with train, valid and test, "
        "either 0 / 1 arrays (N, 784) or (N, 28, 28) with upright rows, or packed bits with n_vars = 784. "
        "The usual chardata.mat has grey levels and no validation part: binarize it and hold out 1,345 "
        "images; published results differ in how they did both, so none is listed.",
        event_shape=(1, 28, 28),
        levels=2,
        kind="image",
        splits={"train": 23_000, "validation": 1_345, "test": 8_070},
        licence="MIT (brendenlake/omniglot)",
        source="Lake et al. 2015; 28 x 28 version of Burda et al. 2016",
        form="bits",
        files=(DataFile("omniglot/omniglot.npz"),),
    ),
)

CATALOGUE: dict[str, DatasetEntry] = {
    entry.name: entry for entry in (*_IMAGES, *TEXTS, *AUDIO, *TABLES, *UCI_TABLES, *ANOMALY_TABLES)
}
