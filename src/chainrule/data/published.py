"""Published test results, negative log-likelihood in nats per example (lower is better).

Static and dynamic binarized MNIST are two data sets whose numbers never belong in one column. The status
words say how sure a quotation is; see `PublishedResult`.
"""

from __future__ import annotations

import math

from chainrule.data.entries import PublishedResult

__all__ = ["BINARIZED_MNIST", "CALTECH_SILHOUETTES", "CIFAR10", "DYNAMIC_MNIST", "binary_table"]

_LM2011 = "Larochelle & Murray 2011"
_MADE = "Germain et al. 2015"
_EONADE = "Uria et al. 2014"
_PIXEL = "van den Oord et al. 2016"
_VLAE = "Chen et al. 2017"
_GENERATIVE = "EugenHotaj/pytorch-generative README"
_BOUND = "a bound, not an exact likelihood"
_MIXTURE = "mixture over orderings"

BINARIZED_MNIST = (
    PublishedResult("Mixture of Bernoullis, K=500", 137.64, _LM2011, "memory (high)"),
    PublishedResult("FVSBN", 97.45, _LM2011, "memory (high)"),
    PublishedResult(
        "NADE, 1 hidden layer", 88.33, "MADE's table", "memory (high)", "88.86 in the first paper"
    ),
    PublishedResult(
        "RBM, 500 hidden, CD-25", 86.34, "Salakhutdinov & Murray 2008", "memory (high)", "estimated"
    ),
    PublishedResult(
        "DBN, 2 hidden layers", 84.55, "Salakhutdinov & Murray 2008", "memory (high)", "estimated"
    ),
    PublishedResult("EoNADE, 1 layer, 2 orderings", 90.69, _EONADE, "memory (high)", _MIXTURE),
    PublishedResult("EoNADE, 1 layer, 128 orderings", 87.71, _EONADE, "memory (high)", _MIXTURE),
    PublishedResult("EoNADE, 2 layers, 2 orderings", 87.96, _EONADE, "memory (high)", _MIXTURE),
    PublishedResult("EoNADE, 2 layers, 128 orderings", 85.10, _EONADE, "memory (high)", _MIXTURE),
    PublishedResult("NADE-5, 1 layer", 89.43, "yaoli/nade_k README", "confirmed", "mean over 10 orderings"),
    PublishedResult("NADE-5, 2 layers", 87.13, "yaoli/nade_k README", "confirmed", "mean over 10 orderings"),
    PublishedResult(
        "EoNADE-5, 2 layers", 84.68, "Raiko et al. 2014", "memory (high)", "mixture of 128 orderings"
    ),
    PublishedResult(
        "ConvNADE + DeepNADE", 80.8, "Uria et al. 2016", "memory (med)", "about; mixture of 128 orderings"
    ),
    PublishedResult("MADE, 1 layer, 1 mask", 88.40, _MADE, "memory (high)"),
    PublishedResult("MADE, 1 layer, 32 masks", 88.04, _MADE, "memory (high)", "mixture over masks"),
    PublishedResult("MADE, 2 layers, 1 mask", 89.59, _MADE, "memory (high)"),
    PublishedResult("MADE, 2 layers, 32 masks", 86.64, _MADE, "confirmed (2nd)", "mixture over masks"),
    PublishedResult("DARN, 1 layer", 84.13, "Gregor et al. 2014", "memory (high)", f"about; {_BOUND}"),
    PublishedResult("DRAW", 80.97, "Gregor et al. 2015", "confirmed (2nd)", _BOUND),
    PublishedResult("PixelCNN", 81.30, _PIXEL, "confirmed (2nd)"),
    PublishedResult("Row LSTM (PixelRNN)", 80.54, _PIXEL, "memory (high)"),
    PublishedResult("Diagonal BiLSTM (PixelRNN), 1 layer", 80.75, _PIXEL, "memory (high)"),
    PublishedResult("Diagonal BiLSTM (PixelRNN), 7 layers", 79.20, _PIXEL, "confirmed (2nd)"),
    PublishedResult("IAF VAE", 79.88, _VLAE, "confirmed (2nd)", _BOUND),
    PublishedResult("AF VAE", 79.30, _VLAE, "confirmed (2nd)", _BOUND),
    PublishedResult("VLAE", 79.03, _VLAE, "confirmed (2nd)", _BOUND),
    PublishedResult("MAE", 77.98, "Ma et al. 2019", "memory (med)", _BOUND),
    PublishedResult("CR-NVAE", 76.93, "Sinha & Dieng 2021", "memory (med)", f"{_BOUND}; augmented"),
)

# pytorch-generative trains on all 60,000 images and looks at the test images after every epoch.
_SELECTED = "trained on all 60,000, selected on test"

DYNAMIC_MNIST = (
    PublishedResult("FVBN, 1 linear layer", 96.58, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("NADE, 500 hidden", 85.65, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("MADE, 1 x 8000 hidden, 1 mask", 84.87, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("Gated PixelCNN", 81.50, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("PixelCNN", 81.45, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("ImageGPT", 79.17, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("PixelSNAIL", 78.61, _GENERATIVE, "confirmed", _SELECTED),
    PublishedResult("VD-VAE", 80.72, _GENERATIVE, "confirmed", f"{_BOUND}; {_SELECTED}"),
    PublishedResult("VAE", 86.77, _GENERATIVE, "confirmed", f"{_BOUND}; {_SELECTED}"),
    PublishedResult("PixelCNN, small, alone", 87.55, _VLAE, "confirmed (2nd)"),
    PublishedResult("VLAE", 78.53, _VLAE, "confirmed (2nd)", _BOUND),
    PublishedResult("IAF VAE", 79.10, _VLAE, "confirmed (2nd)", _BOUND),
    PublishedResult("NVAE", 78.01, "Vahdat & Kautz 2020", "memory (high)", _BOUND),
    PublishedResult(
        "Locally Masked PixelCNN, 8 orderings", 77.56, "ajayjain/lmconv README", "confirmed", _MIXTURE
    ),
)


def _bits_per_dim(model: str, bits: float, source: str, status: str, note: str = "") -> PublishedResult:
    """A result on 32 x 32 x 3 images that is published in bits/dim."""
    said = f"{bits:.2f} bits/dim{f'; {note}' if note else ''}"
    return PublishedResult(model, round(bits * 3072 * math.log(2), 1), source, status, said)


CIFAR10 = (
    _bits_per_dim("PixelCNN", 3.14, _PIXEL, "confirmed (2nd)"),
    _bits_per_dim("Gated PixelCNN", 3.03, "van den Oord et al. 2016b", "confirmed (2nd)"),
    _bits_per_dim("Row LSTM (PixelRNN)", 3.07, _PIXEL, "memory (high)"),
    _bits_per_dim("Diagonal BiLSTM (PixelRNN)", 3.00, _PIXEL, "confirmed (2nd)"),
    _bits_per_dim("PixelCNN++", 2.92, "Salimans et al. 2017", "confirmed (2nd)"),
)

CALTECH_SILHOUETTES = (
    PublishedResult("RWS SBN 10-50-100-300", 113.3, "Bornschein & Bengio 2015", "memory (med)", "about"),
    PublishedResult("RBM, 4000 hidden", 107.8, "Cho et al. 2013", "memory (med)", "about"),
    PublishedResult("RWS NADE/NADE 150", 104.3, "Bornschein & Bengio 2015", "memory (med)", "about"),
    PublishedResult("PixelCNN alone", 89.26, _VLAE, "confirmed (2nd)", "not tuned for this data set"),
    PublishedResult("SpARN", 88.48, "Goessling & Amit 2015", "confirmed (2nd)"),
    PublishedResult("VLAE", 77.36, _VLAE, "confirmed (2nd)", _BOUND),
)

# Larochelle's binary sets, as the table of the MADE paper prints them.
_EIGHT = ("adult", "dna", "mushrooms", "nips", "ocr-letters", "rcv1")
_EIGHT_NLL = {
    "Mixture of Bernoullis": (20.44, 98.19, 14.46, 290.02, 40.56, 47.59),
    "RBM": (16.26, 96.74, 15.15, 277.37, 43.05, 48.88),
    "FVSBN": (13.17, 83.64, 10.27, 276.88, 39.30, 49.84),
    "NADE, fixed ordering": (13.19, 84.81, 9.81, 273.08, 27.22, 46.66),
    "EoNADE, 1 layer, 16 orderings": (13.19, 82.31, 9.69, 272.39, 27.32, 46.12),
    "DARN": (13.19, 81.04, 9.55, 274.68, 28.17, 46.10),
    "MADE": (13.12, 83.63, 9.68, 280.25, 28.34, 47.10),
    "MADE, mask sampling": (13.13, 79.66, 9.69, 277.28, 30.04, 46.74),
}

# The twenty sets of the circuits literature; it prints log-likelihoods, these are their negatives.
_TWENTY = {  # ID-SPN, MADE
    "nltcs": (6.02, 6.04),
    "msnbc": (6.04, 6.06),
    "kdd": (2.13, 2.07),
    "plants": (12.54, 12.32),
    "bnetflix": (56.36, 55.16),
    "tretail": (10.85, 10.81),
    "pumsb-star": (22.41, 22.30),
    "dna": (81.21, 82.77),
    "kosarek": (10.60, None),
    "msweb": (9.73, 9.59),
    "book": (34.14, 33.95),
    "tmovie": (51.51, 48.70),
    "cwebkb": (151.84, 149.59),
    "cr52": (83.35, 82.80),
    "ad": (19.05, 13.65),
}


def binary_table(name: str) -> tuple[PublishedResult, ...]:
    """The published results on one of the binary tables, by its catalogue name; empty when there are none."""
    results = []
    if name in _TWENTY:
        id_spn, made = _TWENTY[name]
        results.append(PublishedResult("ID-SPN", id_spn, "Rooshenas & Lowd 2014", "memory (high)"))
        if made is not None:
            results.append(PublishedResult("MADE", made, "SPVAE's table of baselines", "memory (med)"))
    if name in _EIGHT:
        column = _EIGHT.index(name)
        for model, row in _EIGHT_NLL.items():
            notes = [_BOUND] if model == "DARN" else []
            if name == "dna":
                notes.append("on the split 1,400 / 600 / 1,186, not this one")
            results.append(PublishedResult(model, row[column], _MADE, "memory (high)", "; ".join(notes)))
    return tuple(results)
