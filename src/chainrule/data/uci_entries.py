"""Tables of the UCI repository: wine and breast cancer from scikit-learn, and those of the RNADE paper."""

from __future__ import annotations

from chainrule.data.entries import PublishedResult
from chainrule.data.files import DataFile
from chainrule.data.table_entry import TableEntry

__all__ = ["UCI_TABLES"]

_RNADE = "Uria et al. 2013"
_PROTOCOL = (
    "10 folds, each in turn the test part; columns normalised by mean and standard deviation of the training "
    "part, and densities are in those units (log p in the data's own, plus the logs of the standard "
    "deviations); columns of discrete values removed, and one of each pair with a correlation above 0.98. "
    "{} Which rows made up which fold is not published. See chainrule.data.fold and TableDataset.for_density."
)
_MODELS = ("Gaussian", "Mixture of factor analysers", "FVBN", "RNADE-MoG", "RNADE-MoL")


def _published(*nll: float) -> tuple[PublishedResult, ...]:
    """A row of the RNADE paper's table of UCI data sets; it prints log-likelihoods, these are negatives."""
    note = "normalised columns, mean of 10 folds"
    return tuple(
        PublishedResult(model, value, _RNADE, "memory (high)", note)
        for model, value in zip(_MODELS, nll, strict=True)
    )


_WINE_CHEMISTRY = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)
_HOUSING = (
    *("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE"),
    *("DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT", "MEDV"),
)
_PARKINSONS = (
    *("subject#", "age", "sex", "test_time", "motor_UPDRS", "total_UPDRS"),
    *("Jitter(%)", "Jitter(Abs)", "Jitter:RAP", "Jitter:PPQ5", "Jitter:DDP"),
    *("Shimmer", "Shimmer(dB)", "Shimmer:APQ3", "Shimmer:APQ5", "Shimmer:APQ11", "Shimmer:DDA"),
    *("NHR", "HNR", "RPDE", "DFA", "PPE"),
)


def _without(columns: tuple[str, ...], *dropped: str) -> tuple[str, ...]:
    return tuple(column for column in columns if column not in dropped)


def _wine_quality(
    colour: str, rows: int, file: DataFile, published: tuple[PublishedResult, ...]
) -> TableEntry:
    return TableEntry(
        name=f"winequality-{colour}",
        description=f"Chemistry of {colour} vinho verde, and the quality that tasters gave it, 0 to 10.",
        event_shape=(12,),
        levels=0,
        kind="table",
        splits={"train": rows},
        licence="CC BY 4.0 (UCI); Apache-2.0 (repository)",
        source=f"Cortez et al. 2009; tailhq/DynaML, data/winequality-{colour}.csv, commit f5551a6",
        form="csv",
        files=(file,),
        separator=";",
        columns=(*_WINE_CHEMISTRY, "quality"),
        density_columns=_WINE_CHEMISTRY,
        protocol=_PROTOCOL.format("Here that leaves the 11 columns without quality."),
        published=published,
    )


UCI_TABLES = (
    TableEntry(
        name="wine",
        description="Chemical analysis of wines of three growers. The rows come sorted by grower; of every "
        "five, the fourth is validation and the fifth test.",
        event_shape=(13,),
        levels=0,
        kind="table",
        splits={"train": 108, "validation": 35, "test": 35},
        licence="BSD 3-clause (scikit-learn); CC BY 4.0 (UCI)",
        source="sklearn.datasets.load_wine, UCI's wine recognition data",
        form="embedded",
        label_names=("class_0", "class_1", "class_2"),
        columns=(
            *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols"),
            *("flavanoids", "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue"),
            *("od280/od315_of_diluted_wines", "proline"),
        ),
    ),
    TableEntry(
        name="breast-cancer",
        description="Shapes of cell nuclei in images of breast masses (Wisconsin diagnostic); mean, standard "
        "error and worst of ten measures. Of every five rows, the fourth is validation and the fifth test.",
        event_shape=(30,),
        levels=0,
        kind="table",
        splits={"train": 342, "validation": 114, "test": 113},
        licence="BSD 3-clause (scikit-learn); CC BY 4.0 (UCI)",
        source="sklearn.datasets.load_breast_cancer, UCI's Wisconsin diagnostic data",
        form="embedded",
        label_names=("malignant", "benign"),
        columns=tuple(
            pattern.format(measure)
            for pattern in ("mean {}", "{} error", "worst {}")
            for measure in (
                *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
                *("concave points", "symmetry", "fractal dimension"),
            )
        ),
    ),
    _wine_quality(
        "red",
        1_599,
        DataFile(
            "uci/winequality-red.csv.gz",
            22_702,
            "77c4c53e3dc8371eb8cdd58da0a4a62d8c7a54d981c974db9ae9b238fe5fd43f",
        ),
        _published(13.18, 10.19, 11.03, 9.36, 9.46),
    ),
    _wine_quality(
        "white",
        4_898,
        DataFile(
            "uci/winequality-white.csv.gz",
            66_765,
            "ff103b10a75a748f5011b351ce4f2cdea731d40ec025b8157940ae140ef7fa89",
        ),
        _published(13.20, 10.73, 10.52, 10.23, 10.38),
    ),
    TableEntry(
        name="housing",
        description="Boston housing: house prices and circumstances of 506 districts (B is a function of "
        "their residents' race; the set is here for comparison with published densities).",
        event_shape=(14,),
        levels=0,
        kind="table",
        splits={"train": 506},
        licence="not stated (UCI); Apache-2.0 (repository)",
        source="Harrison & Rubinfeld 1978; tailhq/DynaML, data/housing.data, commit f5551a6",
        form="csv",
        files=(
            DataFile(
                "uci/housing.data.gz",
                12_579,
                "15978f8d7ec9d6dc0632cf1ed16a9d0e7b3c963798ba53eb038e97f8e18439ae",
            ),
        ),
        header=False,
        separator=r"\s+",
        columns=_HOUSING,
        density_columns=_without(_HOUSING, "ZN", "CHAS", "RAD", "TAX"),
        protocol=_PROTOCOL.format(
            "That left 10 columns, which ones is not printed; here ZN, CHAS, RAD and TAX are dropped, the "
            "four whose values are (nearly all) whole numbers."
        ),
        published=_published(11.37, 4.54, 3.41, 0.64, 4.04),
    ),
    TableEntry(
        name="parkinsons",
        description="Parkinsons telemonitoring: measures of the voice of 42 patients and their UPDRS scores.",
        event_shape=(22,),
        levels=0,
        kind="table",
        splits={"train": 5_875},
        licence="CC BY 4.0 (UCI)",
        source="Tsanas et al. 2009; shikashyam/ParkinsonsTelemonitoring, parkinsons_updrs.data, commit "
        "deb237c; Jitter(Abs) from analiticaycienciadatosudea/EstadisticaExploracionDatos, commit a2bcde2",
        form="csv",
        files=(
            DataFile(
                "uci/parkinsons_updrs.csv.gz",
                285_100,
                "20577053509c83f593941c1e8f04c13875ce9ff7b511b62aad4a1b6e0cf2c84e",
            ),
        ),
        columns=_PARKINSONS,
        density_columns=_without(
            _PARKINSONS,
            *("subject#", "age", "sex"),
            *("Jitter(%)", "Jitter:RAP", "Shimmer", "Shimmer:APQ3"),
        ),
        protocol=_PROTOCOL.format(
            "That left 15 columns, which ones is not printed; here subject#, age and sex are dropped, and of "
            "the pairs the one that comes first: Jitter(%), Jitter:RAP, Shimmer, Shimmer:APQ3."
        ),
        published=_published(10.85, 1.99, 0.71, 0.90, 2.63),
    ),
)
