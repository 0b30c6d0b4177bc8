"""What the lecture sets beside autoregressive models: classifiers, autoencoders.

Classifiers and autoencoders have no p(x) at all; a VAE has one that it can bound and sample but not compute.
"""

from __future__ import annotations

from chainrule.contrasts.autoencoder import Autoencoder, DenoisingAutoencoder, SparseAutoencoder
from chainrule.contrasts.classifier import (
    CLASSIFIERS,
    MLP,
    Classifier,
    LogisticRegression,
    SmallCNN,
    load_classifier,
)
from chainrule.contrasts.no_density import NoDensityError
from chainrule.contrasts.vae import VAE

__all__ = [
    "CLASSIFIERS",
    "MLP",
    "VAE",
    "Autoencoder",
    "Classifier",
    "DenoisingAutoencoder",
    "LogisticRegression",
    "NoDensityError",
    "SmallCNN",
    "SparseAutoencoder",
    "load_classifier",
]
