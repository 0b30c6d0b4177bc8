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
        good_for="images, also class by class (context); with attention_every=5 all earlier pixels in view",
        paper="van den Oord et al. 2016, Conditional image generation with PixelCNN decoders",
        cited_as="van den Oord et al. 2016b",
        formula="h' = h + O gate(W_h * h + V (W_v * v)), v' = gate(W_v * v), gate(a, b) = tanh(a) sigmoid(b)",
        parameters="per layer 2 d^2 (K (K + 1) / 2 + 2 + (K + 1) / 2) + d^2 (+ 4 C d with a context)",
        likelihood_notes="L H W C K^2 D",
        likelihood_true="H W times the weights, one pass; attention_every: 2 d (H W)^2 a block and colour",
        sample_notes="H W C passes",
        sample_true="about one pass in total: rows above and pixels to the left are cached",
        published_as=("Gated PixelCNN",),
    ),
    ModelCard(
        name="pixelcnn-pp",
        class_name="PixelCNNPP",
        summary="PixelCNN++: two streams over three resolutions, colours as one mixture",
        good_for="colour and grey images of 256 levels; whole samples at the cost of one pass",
        paper="Salimans et al. 2017, PixelCNN++: improving the PixelCNN",
        cited_as="Salimans et al. 2017",
        formula="x' = x + a sigmoid(b), (a, b) = W_2 * f(W_1 * f(x) + V f(y)), f(x) = (elu(x), elu(-x))",
        parameters="per block 24 d^2 along the row, 36 d^2 above, 2 d^2 a shortcut (+ 2 C d with a context)",
        likelihood_notes="-",
        likelihood_true="H W times the weights of the first resolution, a quarter for each next; one pass",
        sample_notes="H W C passes",
        sample_true="about one pass in total: a low-resolution place is computed once, when it is known",
        published_as=("PixelCNN++",),
    ),
    ModelCard(
        name="row-lstm",
        class_name="RowLSTM",
        summary="PixelRNN: an LSTM that walks down the image, a row at each step",
        good_for="small images with few weights; sees a triangle of unbounded height",
        paper="van den Oord et al. 2016, Pixel recurrent neural networks",
        cited_as="van den Oord et al. 2016a",
        formula="[o, f, i, g] = K_ss * h_(r-1) + K_is * x_r, c_r = f c_(r-1) + i g, h_r = o tanh(c_r)",
        parameters="per layer, k = 3: 12 h^2 + 16 h^2 + 2 h^2 + 4 h (+ 4 C h with a context)",
        likelihood_notes="sequential in the rows",
        likelihood_true="H W times the weights, one pass of H steps; nothing masked is computed",
        sample_notes="H W C passes",
        sample_true="about one pass in total: states of the row above and pixels to the left are cached",
        published_as=("Row LSTM (PixelRNN)",),
    ),
    ModelCard(
        name="diagonal-bilstm",
        class_name="DiagonalBiLSTM",
        summary="PixelRNN: two LSTMs that cross the image in diagonals; sees every earlier pixel",
        good_for="the best likelihood of a small network on small images, with all of the image in view",
        paper="van den Oord et al. 2016, Pixel recurrent neural networks",
        cited_as="van den Oord et al. 2016a",
        formula="x'(r, c) = x(r, c) + U (left(r, c) + right(r-1, c)), each from its states beside and above",
        parameters="per layer 2 (8 h^2 + 8 h^2 + 4 h) + 2 h^2 (+ 8 C h with a context)",
        likelihood_notes="sequential in the diagonals",
        likelihood_true="H W times the weights, one pass of H + W - 1 steps",
        sample_notes="H W C passes",
        sample_true="about one pass in total: left states pixel by pixel, right ones a row later",
        published_as=("Diagonal BiLSTM (PixelRNN)",),
    ),
    ModelCard(
        name="rnn",
        class_name="RNN",
        summary="one state that every value is read into: tanh, LSTM or GRU",
        good_for="long sequences with little memory: any length, each step costs the same",
        paper="Elman 1990; Hochreiter & Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU)",
        cited_as="Hochreiter & Schmidhuber 1997",
        formula="h_0 = b_0, h_t = tanh(W_hh h_(t-1) + W_xh x_t), o_t = W_hy h_t",
        parameters="d + d^2 + 2 d k for k categories, without biases; recurrent part 4x (LSTM), 3x (GRU)",
        likelihood_notes="n d^2",
        likelihood_true="n (d^2 + 2 d k), value after value in one fused kernel; 4x, 3x the recurrent part",
        sample_notes="n d^2",
        sample_true="the arithmetic of one likelihood; memory does not grow with n",
        published_as=("RNN", "LSTM", "GRU"),
    ),
    ModelCard(
        name="attention-rnn",
        class_name="AttentionRNN",
        summary="a recurrent network that looks back at all its earlier states",
        good_for="seeing which earlier values a prediction leans on; a step towards the Transformer",
        paper="Bahdanau et al. 2015, Neural machine translation by jointly learning to align and translate",
        cited_as="Bahdanau et al. 2015",
        formula="alpha_ti = softmax_(i<t) sim(h_t, h_i), c_t = sum_i alpha_ti h_i, o_t = W [h_t; c_t] + b",
        parameters="those of the RNN, d k more in W, and those of the similarity: 0, 0, 2 a d + a, or d^2",
        likelihood_notes="-",
        likelihood_true="RNN + n^2 d",
        sample_notes="-",
        sample_true="the arithmetic of one likelihood: all states are kept",
    ),
    ModelCard(
        name="transformer",
        class_name="Transformer",
        summary="causal self-attention over everything read so far",
        good_for="text, tokens, pixels, table columns, real values: wherever there is much data",
        paper="Vaswani et al. 2017, Attention is all you need",
        cited_as="Vaswani et al. 2017",
        formula="h += Attention(norm(h)), h += MLP(norm(h)), then softmax(V norm(h))",
        parameters="12 d^2 a layer with expansion 4, or with E experts 4 d^2 + E (8 d^2 + d); d a category",
        likelihood_notes="n^2 d + n d^2 a layer",
        likelihood_true="the same; n w d with a window of w; of experts, the products of those used",
        sample_notes="n passes",
        sample_true="one pass in total: keys and values are kept",
        published_as=("Transformer",),
    ),
    ModelCard(
        name="wavenet",
        class_name="WaveNet",
        summary="dilated causal convolutions, whose reach doubles with every layer",
        good_for="waveforms and other long series; costs the same however long they are",
        paper="van den Oord et al. 2016, WaveNet: a generative model for raw audio",
        cited_as="van den Oord et al. 2016c",
        formula="z = tanh(W_f * h) sigmoid(W_g * h), h += W_r z, skip += W_s z",
        parameters="per layer 2 K d^2 + d^2 + d s (d channels, s of the skips)",
        likelihood_notes="n L K d^2",
        likelihood_true="the same",
        sample_notes="n passes over the receptive field",
        sample_true="one pass in total: each layer keeps a ring of its past inputs",
        published_as=("WaveNet",),
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
