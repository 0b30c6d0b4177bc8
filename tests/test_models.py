"""Every model of the catalogue, with every option, through the conformance suite; and their sizes."""

from __future__ import annotations

import pytest
import torch

from chainrule.errors import ChainruleError
from chainrule.loading import load
from chainrule.models import (
    FVSBN,
    MADE,
    MODELS,
    NADE,
    RNN,
    AttentionRNN,
    BayesNet,
    ChowLiuTree,
    DeepNADE,
    DiagonalBiLSTM,
    Ensemble,
    GatedPixelCNN,
    Independent,
    PixelCNN,
    PixelCNNPP,
    RowLSTM,
    Transformer,
    WaveNet,
)
from chainrule.orderings import random_ordering
from chainrule.testing import all_examples, check_model

ORDERINGS = ["raster", "reversed", "column", "spiral", "hilbert", "random:3", [4, 0, 5, 2, 1, 3]]
CHAIN = [[0] * 5] + [[int(j == i) for j in range(5)] for i in range(4)]  # x0 -> x1 -> ... -> x4
DIAMOND = [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]


def fitted(model, rows=60):
    generator = torch.Generator().manual_seed(0)
    model.fit_counts((torch.rand(rows, *model.event_shape, generator=generator) < 0.4).float())
    return model


MODELS_WITH_OPTIONS = {
    "independent": lambda: fitted(Independent((2, 3), ordering="spiral")),
    "independent, unsmoothed": lambda: fitted(Independent((4,), pseudocount=0.0)),
    "bayes-net": lambda: BayesNet((4,), [[], [0], [1], [0, 1]]),
    "bayes-net, against raster": lambda: fitted(BayesNet((2, 2), [[3, 1], [3], [0], []])),
    "bayes-net, no parents": lambda: BayesNet((3,)),
    "chow-liu": lambda: fitted(ChowLiuTree((2, 3))),
    "fvsbn, context": lambda: FVSBN((2, 2), context_size=3, ordering="spiral"),
    "fvsbn, several blocks": lambda: FVSBN((130,), ordering="random:1"),
    "nade": lambda: NADE((6,), hidden=5),
    "nade, context": lambda: NADE((2, 2), hidden=4, context_size=2, ordering="reversed"),
    "nade, several chunks": lambda: NADE((65,), hidden=3),
    "nade, one variable": lambda: NADE((1,), hidden=3),
    "deep-nade, one layer": lambda: DeepNADE((6,), hidden=(7,)),
    "deep-nade, three layers": lambda: DeepNADE((5,), hidden=(7, 4, 6), activation="tanh"),
    "deep-nade, sigmoid, context": lambda: DeepNADE(
        (4,), hidden=(5, 5), activation="sigmoid", context_size=3
    ),
    "deep-nade, several chunks": lambda: DeepNADE((61,), hidden=(4, 3), ordering="random:2"),
    "deep-nade, ensemble": lambda: DeepNADE((5,), hidden=(6, 4)).ensemble(5, seed=1),
    "made, linear": lambda: MADE((6,), hidden=(), direct=True),
    "made, one layer": lambda: MADE((6,), hidden=(9,)),
    "made, two layers, direct": lambda: MADE((6,), hidden=(9, 7), direct=True),
    "made, three layers": lambda: MADE((5,), hidden=(6, 8, 7), activation="tanh"),
    "made, residual": lambda: MADE((6,), hidden=(8, 8, 8), residual=True, activation="elu"),
    "made, residual, random degrees": lambda: MADE(
        (6,), hidden=(8, 8), residual=True, degrees="random", direct=True
    ),
    "made, sigmoid": lambda: MADE((4,), hidden=(5,), activation="sigmoid"),
    "made, random degrees": lambda: MADE(
        (6,), hidden=(9, 9), degrees="random", mask_seed=4, ordering="random:8"
    ),
    "made, narrow": lambda: MADE((8,), hidden=(3, 2)),
    "made, explicit degrees": lambda: MADE((4,), hidden=(4, 3), degrees=[[2, 1, 3, 1], [3, 1, 3]]),
    "made, context": lambda: MADE((2, 2), hidden=(6, 5), context_size=3, ordering="reversed", direct=True),
    "made, linear, context": lambda: MADE((4,), hidden=(), direct=True, context_size=2),
    "made, dropout": lambda: MADE((5,), hidden=(8,), dropout=0.5),
    "made, chain": lambda: MADE((5,), hidden=(8, 6), adjacency=CHAIN),
    "made, diamond, direct": lambda: MADE(
        (2, 2), hidden=(6,), adjacency=DIAMOND, direct=True, ordering="reversed"
    ),
    "made, no edges": lambda: MADE((3,), hidden=(4, 4), adjacency=[[0] * 3] * 3),
    "made, several blocks": lambda: MADE((70,), hidden=(90, 40), ordering="random:5"),
    "made, one variable": lambda: MADE((1,), hidden=(3,)),
    "made, ensemble of masks": lambda: MADE((5,), hidden=(8,), num_masks=3).ensemble(),
    "made, ensemble of orderings": lambda: MADE(
        (5,), hidden=(8, 6), num_masks=4, random_orderings=True, context_size=2
    ).ensemble(),
    "pixelcnn": lambda: PixelCNN((1, 3, 3), features=4, num_blocks=2, head=(5,)),
    "pixelcnn, context, dropout": lambda: PixelCNN(
        (2, 3), features=4, num_blocks=1, first_kernel_size=3, head=(), context_size=2, dropout=0.5
    ),
    "pixelcnn-pp": lambda: PixelCNNPP((1, 3, 3), features=3, num_blocks=1),
    "gated-pixelcnn": lambda: GatedPixelCNN((1, 3, 3), features=4, num_layers=2, kernel_size=3, head=(5,)),
    "gated-pixelcnn, context, dropout": lambda: GatedPixelCNN(
        (2, 3), features=4, num_layers=2, first_kernel_size=3, head=(), context_size=2, dropout=0.5
    ),
    "row-lstm": lambda: RowLSTM((1, 3, 3), features=3, num_layers=2, head=(5,)),
    "row-lstm, context": lambda: RowLSTM(
        (2, 3), features=3, num_layers=1, kernel_size=5, first_kernel_size=3, head=(), context_size=2
    ),
    "diagonal-bilstm": lambda: DiagonalBiLSTM((1, 3, 3), features=3, num_layers=2, head=(5,)),
    "diagonal-bilstm, context": lambda: DiagonalBiLSTM(
        (2, 3), features=3, num_layers=1, first_kernel_size=3, head=(), context_size=2
    ),
    "rnn": lambda: RNN((5,), hidden=4),
    "attention-rnn": lambda: AttentionRNN((5,), hidden=4),
    "transformer": lambda: Transformer((5,), width=8, num_layers=1, num_heads=2),
    "transformer, context": lambda: Transformer(
        (2, 2), width=8, num_layers=2, num_heads=4, num_kv_heads=2, window=2, context_size=2
    ),
    "wavenet": lambda: WaveNet((5,), channels=4, skip_channels=4, layers_per_stack=2, num_stacks=1),
    "ensemble, mixed": lambda: Ensemble([FVSBN((4,)), NADE((4,), hidden=2), fitted(ChowLiuTree((4,)))]),
    "ensemble, one member": lambda: Ensemble([MADE((4,), hidden=(5,), num_masks=2).view(mask=1)]),
    "ensemble, nested": lambda: Ensemble(
        [DeepNADE((4,), hidden=(5,)).ensemble(2), FVSBN((4,), ordering="reversed")]
    ),
}


@pytest.mark.parametrize("name", MODELS_WITH_OPTIONS)
def test_every_model_with_every_option_conforms(name):
    check_model(MODELS_WITH_OPTIONS[name](), num_samples=2000)


def test_the_catalogue_is_covered():
    assert {name.split(",")[0] for name in MODELS_WITH_OPTIONS} == set(MODELS)


@pytest.mark.parametrize("ordering", ORDERINGS, ids=str)
@pytest.mark.parametrize(
    "build",
    [
        lambda ordering: FVSBN((2, 3), ordering=ordering),
        lambda ordering: NADE((2, 3), hidden=4, ordering=ordering),
        lambda ordering: MADE((2, 3), hidden=(9, 7), ordering=ordering, direct=True),
        lambda ordering: DeepNADE((2, 3), hidden=(6, 5), ordering=ordering),
        lambda ordering: Independent((2, 3), ordering=ordering),
    ],
    ids=["fvsbn", "nade", "made", "deep-nade", "independent"],
)
def test_every_ordering_conforms(build, ordering):
    check_model(build(ordering), num_samples=1000)


@pytest.mark.parametrize("mask", range(4))
@pytest.mark.parametrize("random_orderings", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_every_view_of_a_made_conforms(mask, random_orderings, residual):
    network = MADE(
        (2, 3), hidden=(8, 8), num_masks=4, random_orderings=random_orderings, residual=residual, mask_seed=2
    )
    check_model(network.view(mask=mask), num_samples=1000)


@pytest.mark.parametrize("seed", range(3))
def test_deep_nade_conforms_in_any_ordering(seed):
    network = DeepNADE((2, 3), hidden=(6, 5), context_size=2)
    check_model(network.with_ordering(random_ordering((2, 3), seed)), num_samples=1000)


# ------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("n", [1, 2, 3, 10, 784])
@pytest.mark.parametrize("d", [1, 7, 500])
def test_parameter_counts_are_the_lectures_formulas(n, d):
    assert Independent((n,)).num_parameters == n
    assert FVSBN((n,)).num_parameters == n * (n + 1) // 2
    assert NADE((n,), hidden=d).num_parameters == 2 * d * n + d + n
    assert MADE((n,), hidden=(d,)).num_parameters == (n + 1) * d + (d + 1) * n
    assert DeepNADE((n,), hidden=(d, 3)).num_parameters == 2 * n * d + d + (d + 1) * 3 + 4 * n


def test_parameter_counts_with_options():
    assert MADE((6,), hidden=(9, 7, 5)).num_parameters == 7 * 9 + 10 * 7 + 8 * 5 + 6 * 6
    assert MADE((6,), hidden=(9,), direct=True).num_parameters == 7 * 9 + 10 * 6 + 36
    assert MADE((6,), hidden=(9,), context_size=4).num_parameters == 7 * 9 + 10 * 6 + 4 * (9 + 6)
    assert MADE((6,), hidden=(), direct=True).num_parameters == 36 + 6
    assert MADE((6,), hidden=(9,), num_masks=32).num_parameters == MADE((6,), hidden=(9,)).num_parameters
    assert FVSBN((6,), context_size=4).num_parameters == 21 + 24
    assert NADE((6,), hidden=9, context_size=4).num_parameters == 2 * 54 + 15 + 4 * 15
    assert BayesNet((4,), [[], [0], [1], [0, 1]]).num_parameters == 1 + 2 + 2 + 4
    assert fitted(ChowLiuTree((6,))).num_parameters == 2 * 6 - 1


def test_members_that_share_a_network_are_counted_once():
    network = DeepNADE((4,), hidden=(5,))
    assert network.ensemble(7).num_parameters == network.num_parameters
    two = Ensemble([NADE((4,), hidden=2), NADE((4,), hidden=2)])
    assert two.num_parameters == 2 * NADE((4,), hidden=2).num_parameters


def test_multiply_adds():
    assert FVSBN((10,), context_size=3).multiply_adds == 45 + 30
    assert NADE((10,), hidden=6, context_size=3).multiply_adds == 120 + 48
    assert MADE((10,), hidden=(6, 5)).multiply_adds == 60 + 30 + 50
    assert MADE((10,), hidden=(6,), direct=True, context_size=3).multiply_adds == 120 + 100 + 3 * 16


# ------------------------------------------------------------------------------ saving


@pytest.mark.parametrize("name", MODELS_WITH_OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_load_finds_the_class_and_gives_back_the_model_bit_for_bit(name, dtype, tmp_path):
    model = MODELS_WITH_OPTIONS[name]().to(dtype).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert not loaded.training
    assert loaded.settings() == model.settings()
    assert loaded.num_parameters == model.num_parameters
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(7, *model.event_shape, generator=generator) < 0.5).to(dtype)
    context = torch.arange(7) % model.context_size if model.context_size else None
    with torch.no_grad():
        before, after = model.log_prob(x, context), loaded.log_prob(x, context)
    assert after.dtype == dtype
    assert torch.equal(before, after)


def test_an_ensemble_saves_shared_weights_once_and_shares_them_again(tmp_path):
    network = DeepNADE((4,), hidden=(50,))
    mixture = network.ensemble(6)
    mixture.save_pretrained(tmp_path / "model")
    loaded = Ensemble.from_pretrained(str(tmp_path / "model"))
    addresses = {member.output.weight.data_ptr() for member in loaded.members}
    assert len(addresses) == 1
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < 4 * network.num_parameters + 4000
    orders = [member.ordering.permutation for member in loaded.members]
    assert orders == [member.ordering.permutation for member in mixture.members]
    assert len(set(orders)) > 1


def test_members_that_only_look_alike_keep_their_own_weights(tmp_path):
    """Linear MADEs begin with an empty weight; empty tensors all have the same address."""
    first, second = (MADE((4,), hidden=(), direct=True) for _ in range(2))
    torch.nn.init.normal_(second.input_to_output.weight)
    mixture = Ensemble([first, second])
    mixture.save_pretrained(tmp_path / "model")
    loaded = Ensemble.from_pretrained(str(tmp_path / "model"))
    x = all_examples(mixture)
    assert torch.equal(loaded.log_prob_of_members(x), mixture.log_prob_of_members(x))
    assert not torch.equal(loaded.members[0].input_to_output.weight, loaded.members[1].input_to_output.weight)


# ------------------------------------------------------------------------------ ensembles


def test_an_ensemble_is_the_mean_of_probabilities_and_bounds_its_members():
    members = [FVSBN((4,)), NADE((4,), hidden=3), MADE((4,), hidden=(5,))]
    x = all_examples(members[0]).double()
    mixture = Ensemble(members).double()
    of_members = torch.stack([member.log_prob(x) for member in members], dim=1)
    assert torch.allclose(mixture.log_prob_of_members(x), of_members)
    assert torch.allclose(mixture.log_prob(x).exp(), of_members.exp().mean(1), atol=1e-14)
    assert (mixture.log_prob(x) >= of_members.mean(1) - 1e-12).all()  # Jensen


def test_an_ensemble_has_no_conditionals():
    mixture = Ensemble([FVSBN((3,)), FVSBN((3,), ordering="reversed")])
    assert not hasattr(mixture, "log_prob_per_variable")
    assert not hasattr(mixture, "step")
    with pytest.raises(NotImplementedError):
        mixture(torch.zeros(1, 3))


def test_ensembles_refuse_members_that_do_not_fit():
    with pytest.raises(ChainruleError, match="at least one member"):
        Ensemble([])
    with pytest.raises(ChainruleError, match="member 1"):
        Ensemble([FVSBN((3,)), FVSBN((4,))])
    with pytest.raises(ChainruleError, match="context of 2"):
        Ensemble([FVSBN((3,)), FVSBN((3,), context_size=2)])


# ------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NADE((), hidden=3), "event_shape"),
        (lambda: NADE((0,), hidden=3), "event_shape"),
        (lambda: NADE((3,), hidden=0), "hidden must be"),
        (lambda: FVSBN((3,), conditional="bernouli"), "did you mean 'bernoulli'"),
        (lambda: FVSBN((3,), ordering="rastr"), "did you mean 'raster'"),
        (lambda: DeepNADE((3,), hidden=()), "one or more hidden layers"),
        (lambda: DeepNADE((3,), activation="gelu"), "Known: relu, sigmoid, tanh"),
        (lambda: NADE((3,), hidden=2).with_ordering("reversed"), "DeepNADE"),
        (lambda: MADE((3,), hidden=()), "direct=True"),
        (lambda: MADE((3,), hidden=(4, 0)), "every size in hidden must be"),
        (lambda: MADE((3,), hidden=(4, 5), residual=True), "equal size"),
        (lambda: MADE((3,), dropout=1.0), "dropout must be"),
        (lambda: MADE((3,), degrees="balancd"), "did you mean 'balanced'"),
        (lambda: MADE((3,), hidden=(4,), degrees=[[1, 2]]), "each unit"),
        (lambda: MADE((3,), hidden=(2,), degrees=[[1, 3]]), "1..2"),
        (lambda: MADE((4,), hidden=(2, 2), degrees=[[2, 3], [1, 3]]), "hears nothing"),
        (lambda: MADE((4,), hidden=(2, 2), degrees=[[1, 3], [1, 2]]), "nobody hears"),
        (lambda: MADE((3,), num_masks=0), "num_masks"),
        (lambda: MADE((3,), num_masks=2, mask=2), "mask 2"),
        (lambda: MADE((3,), num_masks=2).view(mask=-1), "mask -1"),
        (lambda: MADE((3,), adjacency=[[0, 1], [0, 0]]), "3 x 3"),
        (lambda: MADE((3,), adjacency=[[0, 1, 0], [0, 0, 1], [1, 0, 0]]), "cycle"),
        (lambda: MADE((4,), hidden=(2,), adjacency=CHAIN[:4]), "4 x 4"),
        (lambda: MADE((5,), hidden=(3,), adjacency=CHAIN), "4 different"),
        (lambda: MADE((5,), adjacency=CHAIN, num_masks=2), "leave degrees"),
        (lambda: BayesNet((2,), [[], [], []]), "each of the 2"),
        (lambda: BayesNet((2,), [[1], [0]]), "cycle"),
        (lambda: BayesNet((2,), [[0], []]), "variable 0"),
        (lambda: BayesNet((22,), [list(range(1, 22)), *([] for _ in range(21))]), "2^21"),
        (lambda: BayesNet((2,), [[], [0]]).set_table(1, [0.5]), "needs 2"),
        (lambda: BayesNet((2,), [[], [0]]).set_table(1, [0.5, 1.5]), "lie in"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(build, words):
    with pytest.raises(ChainruleError) as caught:
        build()
    assert words.replace("\\", "") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS_WITH_OPTIONS)
def test_an_empty_batch_and_no_samples_are_allowed(name):
    model = MODELS_WITH_OPTIONS[name]()
    context = torch.zeros(0, model.context_size) if model.context_size else None
    none = model.sample(0, context, seed=0)
    assert none.shape == (0, *model.event_shape)
    assert model.log_prob(none, context).shape == (0,)
    assert model.sample(0, context, seed=0, return_log_prob=True)[1].shape == (0,)
    assert model.fill(none, none, context, seed=0).shape == none.shape
