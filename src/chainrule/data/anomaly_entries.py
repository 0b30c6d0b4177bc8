"""Labelled tables for anomaly detection: twelve sets of ADBench, and NSL-KDD."""

from __future__ import annotations

from chainrule.data.files import DataFile
from chainrule.data.table_entry import TableEntry

__all__ = ["ANOMALY_TABLES"]

_KINDS = ("normal", "anomaly")


def _adbench(
    name: str, file: str, what: str, shape: tuple[int, int], anomalies: int, size: int, sha256: str
) -> TableEntry:
    rows, columns = shape
    return TableEntry(
        name=name,
        description=f"{what} {anomalies:,} anomalies ({anomalies / rows:.2%}). The columns are not named.",
        event_shape=(columns,),
        levels=0,
        kind="table",
        splits={"train": rows},
        licence="BSD 2-clause (repository)",
        source=f"Minqi824/ADBench, adbench/datasets/Classical/{file}, commit 3dac822",
        form="rows",
        files=(DataFile(f"anomaly/{file}", size, sha256),),
        columns=tuple(f"x{i + 1}" for i in range(columns)),
        label_names=_KINDS,
    )


_KDD = (
    *("duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land", "wrong_fragment"),
    *("urgent", "hot", "num_failed_logins", "logged_in", "num_compromised", "root_shell", "su_attempted"),
    *("num_root", "num_file_creations", "num_shells", "num_access_files", "num_outbound_cmds"),
    *("is_host_login", "is_guest_login", "count", "srv_count", "serror_rate", "srv_serror_rate"),
    *("rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate", "srv_diff_host_rate"),
    *("dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate"),
    *("dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate"),
    *("dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate"),
)

_NSL_KDD = TableEntry(
    name="nsl-kdd",
    description="Network connections of the KDD Cup 1999 without its duplicates: the published 20 % training "
    "part and the full test set, which has attacks of kinds that are not in training. Label 1 is an attack; "
    "its name and how many of 21 classifiers got the row right (difficulty) stand beside the data.",
    event_shape=(41,),
    levels=0,
    kind="table",
    splits={"train": 25_192, "test": 22_544},
    licence="BSD 3-clause (repository)",
    source="Tavallaee et al. 2009; ddrogers/R-intrusion-detection-demo, KDDTrain+_20Percent.txt and "
    "KDDTest+.txt, commit 3a2a600",
    form="csv",
    files=(
        DataFile(
            "nslkdd/KDDTrain+_20Percent.txt.gz",
            410_605,
            "e9d9e218d7a4b52decc22f3248d74a2e69c9782ffdcf3406c6b685ca0a920520",
        ),
        DataFile(
            "nslkdd/KDDTest+.txt.gz",
            374_212,
            "1912e4ffe1861d0cee78d77b67a4657f70bbd3c3b22d5b6929ea8b93f077b5bb",
        ),
    ),
    header=False,
    columns=_KDD,
    label_names=("normal", "attack"),
    asides=("attack", "difficulty"),
)

ANOMALY_TABLES = (
    _adbench(
        "annthyroid",
        "2_annthyroid.npz",
        "Thyroid measurements; the anomalies are ill.",
        (7_200, 6),
        534,
        66_547,
        "e738f7c58a8740d2c4aac4c71ff49ce5e1d1aa16f44178135fc9c09df05fad1b",
    ),
    _adbench(
        "breastw",
        "4_breastw.npz",
        "Cells of breast masses (Wisconsin original); the anomalies are malignant.",
        (683, 9),
        239,
        3_023,
        "4f37ce07dbc25ddad8178fdc6d664ab46d2d0000ee28c2787c3c7ff3c03ef9f6",
    ),
    _adbench(
        "cardio",
        "6_cardio.npz",
        "Cardiotocograms; the anomalies are pathologic.",
        (1_831, 21),
        176,
        68_471,
        "bc5009bde6930b4d298b594f31b34485a9a17210cff0e8fb00a8c3068b885a2d",
    ),
    _adbench(
        "http",
        "16_http.npz",
        "Web connections of the KDD Cup 1999.",
        (567_498, 3),
        2_211,
        2_179_269,
        "9d98710091551587f4740cfc851a6b064fff6319a337c2dc77ee6da4bcc2e02c",
    ),
    _adbench(
        "letter",
        "20_letter.npz",
        "Shapes of printed letters.",
        (1_600, 32),
        100,
        23_946,
        "f986d3da80cf1fa2aea83a5ebe73b7d4800e0d4c01fdd1ae074b58d20f10d039",
    ),
    _adbench(
        "pendigits",
        "28_pendigits.npz",
        "Pen strokes of handwritten digits.",
        (6_870, 16),
        156,
        653_509,
        "c4936b89dcdad59d303020e492f763a0f54170080d787c77497609acbb9c2d79",
    ),
    _adbench(
        "pima",
        "29_Pima.npz",
        "Health of Pima women; the anomalies have diabetes.",
        (768, 8),
        268,
        11_023,
        "215454bb263a2f040945c9ea7bd7f06f1e89a61a3143bdb6f196e3887e801a7d",
    ),
    _adbench(
        "satellite",
        "30_satellite.npz",
        "Satellite image patches; the anomalies are the rare kinds of ground.",
        (6_435, 36),
        2_036,
        129_874,
        "1f048f5686f1b8c16a227fdfa3c81a62cd9a92715714a6b24c69b1c5ad96b46e",
    ),
    _adbench(
        "smtp",
        "34_smtp.npz",
        "Mail connections of the KDD Cup 1999.",
        (95_156, 3),
        30,
        496_392,
        "d2569fc9bc12115419e3f5b37d19921e10e6c26e5ad1e61064cfb0fbc402dfdd",
    ),
    _adbench(
        "spambase",
        "35_SpamBase.npz",
        "Word frequencies of e-mails; the anomalies are spam.",
        (4_207, 57),
        1_679,
        152_038,
        "d0c46c7928e43f6496bcd06e09de0b70f6bc8143792dfa0a43f450263d254e9b",
    ),
    _adbench(
        "thyroid",
        "38_thyroid.npz",
        "Thyroid measurements; the anomalies are hyperfunctioning.",
        (3_772, 6),
        93,
        39_882,
        "8de161b3f235b7647bb0b39a836d983ff61d67bf234edac461da2d71e889cb87",
    ),
    _adbench(
        "vowels",
        "40_vowels.npz",
        "Speech of several speakers; the anomalies are one of them.",
        (1_456, 12),
        50,
        134_268,
        "4bfc4244d1c882773bbbc50d4a5db5e52276e53506e46b2d45e02d074cfcb1b6",
    ),
    _NSL_KDD,
)
