"""Parts of a table whose split is not published: shuffled, in folds, and for anomaly detection.

All are functions of the rows' number and a seed, nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import checked_seed, real_number, whole_number
from chainrule.data.table_dataset import TableDataset
from chainrule.errors import ChainruleError

__all__ = ["detection_split", "fold", "shuffled_split"]


def shuffled_split(table: TableDataset, seed: int = 0) -> TableDataset:
    """The rows of `train` shuffled and split 80 / 10 / 10 into train, validation and test.

    Raises `ChainruleError` below 3 rows.
    """
    order = _shuffled(table, "train", seed, at_least=3)
    held_out = max(1, len(order) // 10)
    return table.rows(
        train=("train", order[2 * held_out :]),
        validation=("train", order[:held_out]),
        test=("train", order[held_out : 2 * held_out]),
    )


def fold(table: TableDataset, index: int, folds: int = 10, seed: int = 0) -> TableDataset:
    """Fold `index` of `folds` of the shuffled rows of `train` as test, the next one as validation.

    The rest is train. Over all folds every row is in the test part once.
    Raises `ChainruleError` for a fold that there is not, and for fewer rows than folds.
    """
    folds = whole_number("folds", folds, minimum=3)
    index = whole_number("index", index, maximum=folds - 1)
    order = _shuffled(table, "train", seed, at_least=folds)
    parts = np.array_split(order, folds)
    validation = (index + 1) % folds
    rest = [part for i, part in enumerate(parts) if i not in (index, validation)]
    return table.rows(
        train=("train", np.concatenate(rest)),
        validation=("train", parts[validation]),
        test=("train", parts[index]),
    )


def detection_split(
    table: TableDataset, seed: int = 0, *, clean: bool = False, test_share: float = 0.5
) -> TableDataset:
    """A training and a test part for anomaly detection, labels beside both; no validation part.

    - `clean`: leave the anomalies out of the training part (fit on normal rows only); otherwise it stays
      mixed, and fitting is unsupervised;
    - `test_share`: of the normal rows and of the anomalies each, drawn with `seed`, for tables of one
      part. A table with a test part of its own keeps it.

    ADBench's unsupervised protocol is the mixed one with a test share of 0.3.
    Raises `ChainruleError` for a table that has no labels of normal and anomaly.
    """
    if len(table.label_names) != 2 or table.label_names[0] != "normal":
        raise ChainruleError(
            f"table {table.name!r} does not say which rows are anomalies; its labels are: "
            f"{', '.join(table.label_names) or 'none'}"
        )
    share = real_number("test_share", test_share, above=0, below=1)
    order = _shuffled(table, "train", seed, at_least=2)
    labels = table.labels["train"][order]
    if table.test is not None:
        train, test = np.sort(order), ("test", np.arange(len(table.test)))
    else:
        groups = [order[labels == label] for label in (0, 1)]
        cuts = [round(share * len(group)) for group in groups]
        train = np.sort(np.concatenate([group[cut:] for group, cut in zip(groups, cuts, strict=True)]))
        tested = np.concatenate([group[:cut] for group, cut in zip(groups, cuts, strict=True)])
        test = ("train", np.sort(tested))
    if clean:
        train = train[table.labels["train"][train] == 0]
    return table.rows(train=("train", train), test=test)


def _shuffled(table: TableDataset, split: str, seed: int, at_least: int) -> NDArray[np.intp]:
    rows = len(table.split(split))
    if rows < at_least:
        raise ChainruleError(f"table {table.name!r} has {rows} rows; expected at least {at_least} to split")
    return np.random.default_rng(checked_seed(seed)).permutation(rows)
