"""What each model is, in words and formulas, readable without importing torch.

`chainrule models` shows these. Costs are multiply-adds per example: n variables, d hidden units, d_l
units in layer l, L layers, C the length of the context. "notes" is what the lecture states, "true" what
this library's implementation takes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CARDS", "ModelCard"]


@dataclass(frozen=True)
class ModelCard:
    """One model of the catalogue.

    - `published_as`: how tables of published results call it, up to the first comma.
    - `trainable`: whether `chainrule train` takes it.
    """

    name: str
    class_name: str
    summary: str
    good_for: str
    paper: str
    cited_as: str
    formula: str
    parameters: str
    likelihood_notes: str
    likelihood_true: str
    sample_notes: str
    sample_true: str
    published_as: tuple[str, ...] = ()
    trainable: bool = True


_CARDS = (
    ModelCard(
        name="independent",
        class_name="Independent",
        summary="every variable on its own: the baseline",
        good_for="a number that every other model must beat",
        paper="the pixel-mean baseline of the lecture, topic 4",
        cited_as="baseline",
        formula="p(x) = prod_i p(x_i)",
        parameters="n",
        likelihood_notes="n",
        likelihood_true="n, all variables at once",
        sample_notes="n",
        sample_true="n",
    ),
    ModelCard(
        name="bayes-net",
        class_name="BayesNet",
        summary="given parents, tables fitted by counting",
        good_for="known structure, few parents, readable tables, what-if questions",
        paper="Pearl 1988, Probabilistic Reasoning in Intelligent Systems",
        cited_as="Pearl 1988",
        formula="p(x) = prod_i p(x_i | x_pa(i)), a table for each variable",
        parameters="sum_i 2^|pa(i)|",
        likelihood_notes="n look-ups",
        likelihood_true="n look-ups, all variables at once",
        sample_notes="n look-ups",
        sample_true="n look-ups",
    ),
    ModelCard(
        name="chow-liu",
        class_name="ChowLiuTree",
        summary="the best tree of dependences, learned by counting",
        good_for="a strong baseline in a second, little data, no settings to tune",
        paper="Chow & Liu 1968, Approximating discrete probability distributions with dependence trees",
        cited_as="Chow & Liu 1968",
        formula="p(x) = prod_i p(x_i | x_parent(i)), the tree of greatest mutual information",
        parameters="2n - 1",
        likelihood_notes="-",
        likelihood_true="n look-ups, all variables at once",
        sample_notes="-",
        sample_true="n look-ups",
    ),
    ModelCard(
        name="fvsbn",
        class_name="FVSBN",
        summary="a logistic regression for every variable on all earlier ones",
        good_for="readable weights, a convex fit, little data; no interactions",
        paper="Neal 1992; Frey 1998; Larochelle & Murray 2011 for the numbers",
        cited_as="Neal 1992; Frey 1998",
        formula="p(x_i = 1 | x_<i) = sigmoid(b_i + sum_{j<i} A_ij x_j)",
        parameters="n(n+1)/2 (+ C n with a context)",
        likelihood_notes="n^2",
        likelihood_true="n(n-1)/2, one triangular product",
        sample_notes="n^2, n passes",
        sample_true="n(n-1)/2: about one parallel pass",
        published_as=("FVSBN", "FVBN"),
    ),
    ModelCard(
        name="nade",
        class_name="NADE",
        summary="one hidden layer shared by all conditionals",
        good_for="the best likelihood of a small model in one fixed ordering",
        paper="Larochelle & Murray 2011, The neural autoregressive distribution estimator",
        cited_as="Larochelle & Murray 2011",
        formula="h_i = sigmoid(c + sum_{j<i} W_j x_j), p(x_i = 1 | x_<i) = sigmoid(b_i + V_i . h_i)",
        parameters="2dn + d + n (+ C (d + n) with a context)",
        likelihood_notes="nd (also stated: n^2 d)",
        likelihood_true="2nd, variable after variable",
        sample_notes="nd, n passes",
        sample_true="2nd: the arithmetic of one likelihood",
        published_as=("NADE",),
    ),
    ModelCard(
        name="deep-nade",
        class_name="DeepNADE",
        summary="one deep network for every ordering (EoNADE)",
        good_for="filling in any missing part; mixtures over orderings",
        paper="Uria, Murray & Larochelle 2014, A deep and tractable density estimator",
        cited_as="Uria et al. 2014",
        formula="z = network(x * m, m), p(x_o(t) | x_o(<t)) from z with m marking what is known",
        parameters="2 n d_1 + d_1 + sum_l (d_l + 1) d_(l+1) + (d_L + 1) n (+ C d_1 with a context)",
        likelihood_notes="-",
        likelihood_true="n (2 d_1 + sum_l d_l d_(l+1) + d_L) in one ordering; K times that for K orderings",
        sample_notes="-",
        sample_true="the same, variable after variable",
        published_as=("EoNADE",),
    ),
    ModelCard(
        name="made",
        class_name="MADE",
        summary="a masked autoencoder: all conditionals in one pass",
        good_for="fast training and scoring; any DAG; mixtures over masks",
        paper="Germain et al. 2015, MADE: masked autoencoder for distribution estimation",
        cited_as="Germain et al. 2015",
        formula="h^l = f((W^l * M^l) h^(l-1) + b^l), z = (V * M^V) h^L + c, masks by the units' numbers",
        parameters="sum over layers of (in + 1) out (+ C (d_1 + n) with a context)",
        likelihood_notes="nd + d^2",
        likelihood_true="n d_1 + sum_l d_l d_(l+1) + d_L n, one pass",
        sample_notes="n passes",
        sample_true="one pass in total: each weight is used once",
        published_as=("MADE",),
    ),
    ModelCard(
        name="pixelcnn",
        class_name="PixelCNN",
        summary="masked convolutions over an image; has a blind spot",
        good_for="images of any size with few weights; the plain form of its successors",
        paper="van den Oord et al. 2016, Pixel recurrent neural networks",
        cited_as="van den Oord et al. 2016a",
        formula="u' = u + W_3 relu(W_2 * relu(W_1 relu(u))), kernels masked to pixels above and to the left",
        parameters="sum over layers of K^2 D_in D_out + D_out, whatever the size of the image",
        likelihood_notes="L H W C K^2 D",
        likelihood_true="H W sum_l K (K + 1) / 2 D_in D_out, one pass; rows below are not computed",
        sample_notes="H W C passes",
        sample_true="about one pass in total: rows above and pixels to the left are cached",
        published_as=("PixelCNN",),
    ),
    ModelCard(
        name="gated-pixelcnn",
        class_name="GatedPixelCNN",
        summary="gated convolutions in two stacks, without the blind spot",
        good_for="images, also class by class (context); whole samples at the cost of one pass",
        paper="van den Oord et al. 2016, Conditional image generation with PixelCNN decoders",
        cited_as="van den Oord et al. 2016b",
        formula="h' = h + O gate(W_h * h + V (W_v * v)), v' = gate(W_v * v), gate(a, b) = tanh(a) sigmoid(b)",
        parameters="per layer 2 d^2 (K (K + 1) / 2 + 2 + (K + 1) / 2) + d^2 (+ 4 C d with a context)",
        likelihood_notes="L H W C K^2 D",
        likelihood_true="H W times the weights, one pass; nothing masked is computed",
        sample_notes="H W C passes",
        sample_true="about one pass in total: rows above and pixels to the left are cached",
        published_as=("Gated PixelCNN",),
    ),
    ModelCard(
        name="ensemble",
        class_name="Ensemble",
        summary="an exact mixture of models, orderings or masks",
        good_for="a better likelihood from what is trained already; disagreement as uncertainty",
        paper="mixtures over orderings: Uria et al. 2014; over masks: Germain et al. 2015",
        cited_as="Uria et al. 2014",
        formula="p(x) = mean_k p_k(x), never a mean of logits",
        parameters="those of its members, shared ones counted once",
        likelihood_notes="K members",
        likelihood_true="K members",
        sample_notes="-",
        sample_true="one member, chosen for each sample",
        trainable=False,
    ),
)

CARDS: dict[str, ModelCard] = {card.name: card for card in _CARDS}
