"""PixelRNN: what each pixel sees with Row LSTM and Diagonal BiLSTM layers, the LSTM over a grid, caches."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.errors import ChainruleError
from chainrule.layers import products
from chainrule.layers.feature_maps import batch_first, convolve_along_row, features_first
from chainrule.layers.grid_lstm import diagonal_scan, grid_lstm, row_scan
from chainrule.layers.lstm_cell import Gates, advance
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.models import DiagonalBiLSTM, RowLSTM
from chainrule.testing import check_model

BOTH = pytest.mark.parametrize("model_class", [RowLSTM, DiagonalBiLSTM])


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(model_class, shape, **settings):
    """A network with weights everywhere, biases among them."""
    settings = {"features": 3, "num_layers": 2, "first_kernel_size": 3, "head": (5,), **settings}
    model = model_class(shape, **settings)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


# ------------------------------------------------------------------------------ the whole contract


@BOTH
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 3, 4), {}),
        ((1, 4, 3), {"ordering": "column"}),
        ((3, 3), {"first_kernel_size": 7, "ordering": "reversed", "num_layers": 3}),
        ((1, 1, 5), {"head": ()}),
        ((1, 5, 1), {"features": 1}),
        ((3, 2, 2), {"conditional": Categorical(4), "context_size": 2}),
        ((3, 2, 2), {"conditional": Categorical(4), "one_hot": True, "ordering": "column", "features": 4}),
        ((2, 2, 3), {"conditional": DiscretizedLogisticMixture(8, 2), "ordering": "reversed"}),
    ],
    ids=str,
)
def test_conforms(model_class, shape, settings):
    check_model(small(model_class, shape, **settings), num_samples=600)


def test_wider_kernels_along_the_row():
    check_model(small(RowLSTM, (1, 3, 4), kernel_size=5), num_samples=600)


@BOTH
def test_256_levels_of_three_colours(model_class):
    model = small(model_class, (3, 2, 3), conditional=Categorical(256), features=6, head=(6,)).double()
    noise = torch.rand(20, 18, 1, dtype=torch.float64)
    assert torch.equal(model.sample(noise=noise), model.sample(noise=noise, method="naive"))


def test_the_networks_of_the_paper_have_these_sizes():
    """Layers of 30 h^2 + 4h and 34 h^2 + 8h weights, worked out from table 1 and h = 16."""
    first, head, h = 49 * 32 + 32, 2 * (32 * 32 + 32) + 33, 16
    assert RowLSTM((1, 28, 28)).num_parameters == first + 7 * (30 * h**2 + 4 * h) + head
    image_to_right = 4 * h
    expected = first + 7 * (34 * h**2 + 8 * h) + image_to_right + head
    assert DiagonalBiLSTM((1, 28, 28)).num_parameters == expected


@BOTH
def test_multiply_adds_count_what_is_computed(model_class):
    """Every weight once per pixel, but for the masked half of the first kernel."""
    model = model_class((1, 28, 28))
    unused = 49 * 32 - 28 * 32
    weights = sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
    assert model.multiply_adds == 28 * 28 * (weights - unused)


# ------------------------------------------------------------------------------ the LSTM over a grid


def one_pixel_after_another(z, weight, scan, order, cell):
    """The textbook LSTM: h of every pixel, with states outside the image 0. z of the content is doubled."""
    outputs, cells = {}, {}
    zero = z.new_zeros(len(z) // 4, z.shape[-1])
    for row, column in order:
        heard = torch.cat([outputs.get((row + dy, column + dx), zero) for dy, dx in scan.taps])
        o, f, i, g = (z[:, row, column] + weight @ heard).chunk(4)
        before = cells.get((row + cell[0], column + cell[1]), zero)
        cells[row, column] = f.sigmoid() * before + i.sigmoid() * torch.tanh(g / 2)
        outputs[row, column] = o.sigmoid() * torch.tanh(cells[row, column])
    _, height, width, _ = z.shape
    return torch.stack([torch.stack([outputs[r, c] for c in range(width)], 1) for r in range(height)], 1)


SCANS = {
    "rows": (lambda h, w: row_scan(h, w, 1), (-1, 0), False),
    "rows, five wide": (lambda h, w: row_scan(h, w, 2), (-1, 0), False),
    "from the left": (lambda h, w: diagonal_scan(h, w, "left"), (0, -1), False),
    "from the right": (lambda h, w: diagonal_scan(h, w, "right"), (0, 1), True),
}


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("size", [(3, 4), (4, 3), (1, 5), (5, 1), (1, 1)])
def test_a_scan_is_an_lstm_over_the_image(name, size):
    """Equal to one pixel after another; and its written-out gradient to finite differences."""
    make, cell, backwards = SCANS[name]
    scan = make(*size)
    z = torch.randn(8, *size, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 2 * len(scan.taps), dtype=torch.float64, requires_grad=True)
    columns = range(size[1])[::-1] if backwards else range(size[1])
    order = [(row, column) for row in range(size[0]) for column in columns]
    expected = one_pixel_after_another(z, weight, scan, order, cell)
    torch.testing.assert_close(grid_lstm(z, weight, scan), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(grid_lstm(z, weight, scan), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z, weight: grid_lstm(z, weight, scan), (z, weight))


def test_every_pixel_is_in_one_step():
    for scan in (row_scan(4, 6, 1), diagonal_scan(4, 6, "left"), diagonal_scan(6, 4, "right")):
        pixels = torch.arange(24)
        steps = [pixels[step.pixels].tolist() for step in scan.steps]
        assert sorted(itertools.chain(*steps)) == pixels.tolist()
    assert len(row_scan(4, 6, 1).steps) == 4
    assert len(diagonal_scan(4, 6, "left").steps) == 4 + 6 - 1


def test_a_cell_far_from_zero():
    """Saturated gates give the outputs of tanh and sigmoid, not infinities or nan."""
    z = torch.tensor([[-1e4, 1e4, 1e4, 1e4], [1e4, 1e4, 1e4, -1e4], [1e4, -1e4, 1e4, 1e4]])
    before = 2 * torch.tensor([[3.0], [0.25], [7.0]])
    cell, squashed, out = (torch.empty(3, 1) for _ in range(3))
    advance(Gates.of(z, dim=1), before, cell, squashed, out)
    assert torch.equal(cell / 2, torch.tensor([[4.0], [-0.75], [1.0]]))
    torch.testing.assert_close(-out, torch.tanh(cell / 2) * torch.tensor([[0.0], [1.0], [1.0]]))


@pytest.mark.parametrize("left", [0, 1, 2])
def test_features_first_is_the_same_convolution(left):
    layer = ShiftedConv2d(6, 8, columns=(-left, 0), kind="B", channels=2, out_blocks=4).double()
    layer.bias.data.normal_()
    x, scale = torch.randn(3, 6, 4, 5).double(), torch.rand(8).double()
    found = batch_first(convolve_along_row(layer, features_first(x), scale=scale))
    torch.testing.assert_close(found, layer(x) * scale[:, None, None], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------ what a pixel can see


def seen_from(model, row, column, colour=0):
    """The variables (colour, row, column) on which the parameters of a variable depend, by gradient."""
    model = model.double().eval()
    x = torch.rand(16, *model.event_shape, dtype=torch.float64, requires_grad=True)
    model(x)[:, colour, row, column].square().sum().backward()
    return {tuple(p) for p in x.grad.abs().sum(0).nonzero().tolist()}


@pytest.mark.parametrize(("layers", "reach"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_a_row_lstm_sees_a_triangle(layers, reach):
    """In the row d above, from d + layers + reach pixels on the left to d + reach - 1 on the right.

    In its own row: each layer reaches one further to the left than the first kernel.
    """
    model = small(RowLSTM, (1, 6, 15), num_layers=layers, first_kernel_size=2 * reach + 1, head=())
    row, column = 5, 8
    expected = set()
    for above in range(row + 1):
        last = -1 if above == 0 else above + reach - 1
        for offset in range(-above - layers - reach, last + 1):
            if 0 <= column + offset < 15:
                expected.add((0, row - above, column + offset))
    assert seen_from(model, row, column) == expected
    unseen = {(0, r, c) for r in range(row) for c in range(15)} - expected
    assert unseen  # the triangle does not fill the image: this test could tell


def earlier(shape, row, column):
    """All variables before the first colour of a pixel."""
    colours, rows, columns = shape
    pixels = [(r, c) for r in range(rows) for c in range(columns) if (r, c) < (row, column)]
    return {(colour, r, c) for colour in range(colours) for r, c in pixels}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("shape", "place"),
    [
        *(((1, 5, 9), place) for place in [(0, 0), (0, 5), (1, 0), (1, 8), (4, 0), (4, 4), (4, 8)]),
        ((1, 4, 1), (3, 0)),
        ((1, 1, 6), (0, 5)),
        ((2, 3, 6), (2, 1)),
    ],
)
def test_a_diagonal_bilstm_sees_every_earlier_pixel_and_none_later(layers, shape, place):
    model = small(DiagonalBiLSTM, shape, num_layers=layers, features=4, head=())
    assert seen_from(model, *place) == earlier(shape, *place)


def test_without_the_image_to_its_right_lstm_it_would_miss_one_pixel():
    """As published: the last pixel of the row above, from further left than the first kernel reaches."""
    model = small(DiagonalBiLSTM, (1, 5, 9), head=())
    model.image_to_right.weight.data.zero_()
    for column in range(9):
        missing = earlier((1, 5, 9), 3, column) - seen_from(model, 3, column)
        assert missing == ({(0, 2, 8)} if column < 8 - 1 else set())


@BOTH
@pytest.mark.parametrize("ordering", ["raster", "reversed", "column"])
def test_colours_are_seen_in_the_order_red_green_blue(model_class, ordering):
    shape = (3, 4, 4)
    model = small(model_class, shape, conditional=Categorical(4), features=7, head=(), ordering=ordering)
    fields = [seen_from(model, 2, 2, colour) for colour in range(3)]
    pixels = [{place[1:] for place in field} - {(2, 2)} for field in fields]
    assert pixels[0] == pixels[1] == pixels[2]
    for colour, field in enumerate(fields):
        before = range(colour) if ordering != "reversed" else range(colour + 1, 3)
        assert {c for c, row, column in field if (row, column) == (2, 2)} == set(before)
        others = {place for place in field if place[1:] != (2, 2)}
        assert others == {(c, row, column) for c in range(3) for row, column in pixels[0]}


@BOTH
def test_the_first_pixel_hears_the_context_alone(model_class):
    model = small(model_class, (1, 3, 3), context_size=3).double()
    x = (torch.rand(3, 1, 3, 3) < 0.5).double()
    params = model(x, torch.eye(3, dtype=torch.float64))
    assert params[:, 0, 0, 0].unique().numel() == 3
    same = model(torch.zeros_like(x), torch.eye(3, dtype=torch.float64))
    assert torch.equal(params[:, 0, 0, 0], same[:, 0, 0, 0])


# ------------------------------------------------------------------------------ caches


def params_by_steps(model, x, context=None, state=None, first=0):
    sequence = model.to_sequence(x)
    state = model.init_state(len(x), context) if state is None else state
    params = []
    for position in range(first, model.num_variables):
        previous = None if position == 0 else sequence[:, position - 1]
        of_one, state = model.step(state, previous)
        params.append(of_one)
    return torch.stack(params, dim=1), state


@BOTH
@pytest.mark.parametrize("packed", [True, False])
def test_single_precision_with_and_without_packed_products(model_class, packed, monkeypatch):
    monkeypatch.setattr(products, "_WORTH_PACKING", 0)
    if not packed:
        monkeypatch.setattr(products, "_packed", lambda *_: None)
    model = small(model_class, (1, 5, 6), features=8, context_size=2, head=(16,)).eval()
    x = (torch.rand(16, 1, 5, 6) < 0.4).float()
    context = torch.eye(2).repeat(8, 1)
    with torch.no_grad():
        expected = model.to_sequence(model(x, context))
    found, _ = params_by_steps(model, x, context)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@BOTH
def test_the_same_sample_in_single_precision(model_class):
    """Binary images of the paper's network: the plain sampler's, bit for bit."""
    model = small(model_class, (1, 6, 7), features=16, num_layers=7, first_kernel_size=7, head=(32, 32))
    noise = torch.rand(8, 42, 1)
    assert torch.equal(model.sample(noise=noise), model.sample(noise=noise, method="naive"))


@BOTH
@pytest.mark.filterwarnings("error")  # of a buffer that has the wrong size
@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 3, 2)])
@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_rows_of_a_state_go_on_as_they_were(model_class, shape, at):
    model = small(model_class, shape, conditional=Categorical(4), context_size=2).double().eval()
    x = torch.randint(4, (3, *shape)).double()
    context = torch.randn(3, 2, dtype=torch.float64)
    whole, _ = params_by_steps(model, x, context)
    state = model.init_state(3, context)
    sequence = model.to_sequence(x)
    for position in range(at):
        _, state = model.step(state, sequence[:, position - 1] if position else None)
    rows = torch.tensor([2, 0, 2, 1])
    chosen = model.select_state(state, rows)
    rest, _ = params_by_steps(model, x[rows], state=chosen, first=at)
    torch.testing.assert_close(rest, whole[rows, at:], rtol=1e-12, atol=1e-12)


@BOTH
def test_a_sample_needs_no_pass(model_class, monkeypatch):
    model = small(model_class, (3, 2, 3), conditional=Categorical(4)).eval()
    passes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *x: passes.append(1) or forward(*x))
    model.sample(2, seed=0)
    assert not passes


@BOTH
def test_memory_grows_with_the_width_and_not_with_the_height(model_class):
    def kept(shape):
        model = small(model_class, shape)
        _, state = params_by_steps(model, torch.zeros(2, *shape))
        return state.num_bytes

    assert kept((1, 12, 8)) == kept((1, 4, 8))
    assert 1.6 * kept((1, 4, 8)) < kept((1, 4, 16)) < 2 * kept((1, 4, 8))


@BOTH
def test_over_images_of_another_size(model_class):
    """The same network, step by step as in parallel; what lies beyond the old size is seen too."""
    model = small(model_class, (1, 3, 3)).double().eval()
    wide = model.with_size((1, 5, 4))
    x = (torch.rand(2, 1, 5, 4) < 0.5).double()
    found, _ = params_by_steps(wide, x)
    torch.testing.assert_close(found, wide.to_sequence(wide(x)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(wide(x)[:, :, 0, :3], model(x[:, :, :3, :3])[:, :, 0], rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------ training


@BOTH
def test_mixed_precision_gives_likelihoods_in_single(model_class):
    model = small(model_class, (1, 6, 6))
    x = (torch.rand(4, 1, 6, 6) < 0.5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_prob = model.log_prob(x)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, model.log_prob(x), rtol=0.02, atol=0.2)
    log_prob.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@BOTH
def test_training_learns_what_lies_rows_above(model_class):
    """The last row repeats the first pixel: 9 coins an image, 10 for who sees the row alone, 12 untrained."""
    generator = torch.Generator().manual_seed(0)

    def images(number):
        x = (torch.rand(number, 1, 4, 3, generator=generator) < 0.5).float()
        x[:, :, -1] = x[:, :, 0, :1]
        return x

    def coins():
        with torch.no_grad():
            return model.nll(images(500)).mean().item() / math.log(2)

    model = model_class((1, 4, 3), features=6, num_layers=2, first_kernel_size=3, head=(8,))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    assert coins() > 11.5
    for _ in range(100):
        optimizer.zero_grad()
        model.nll(images(64)).mean().backward()
        optimizer.step()
    assert coins() < 9.3


@BOTH
def test_samples_of_a_class_look_like_the_class(model_class):
    """Class 0 has its upper half on, class 1 its lower half: learned in a few steps, and sampled so."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (64,), generator=generator)
    on = torch.zeros(64, 1, 4, 4)
    on[labels == 0, :, :2], on[labels == 1, :, 2:] = 1.0, 1.0
    x = (torch.rand(on.shape, generator=generator) < 0.1 + 0.8 * on).float()
    model = model_class((1, 4, 4), features=6, num_layers=2, first_kernel_size=3, head=(), context_size=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.nll(x, labels).mean().backward()
        optimizer.step()
    wanted = torch.arange(100) % 2
    samples = model.sample(context=wanted, num_samples=100, seed=0)
    found = (samples[:, 0, 2:].sum((1, 2)) > samples[:, 0, :2].sum((1, 2))).long()
    assert (found == wanted).float().mean() > 0.9


# ------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RowLSTM((784,)), "images, event_shape (C, H, W), not (784,)"),
        (lambda: DiagonalBiLSTM((1, 4, 4), ordering="spiral"), "raster, reversed, column, not 'spiral'"),
        (lambda: RowLSTM((1, 4, 4), kernel_size=4), "kernel_size must be odd"),
        (lambda: RowLSTM((1, 4, 4), kernel_size=1), "at least 3, not 1"),
        (lambda: DiagonalBiLSTM((1, 4, 4), first_kernel_size=1), "at least 3, not 1"),
        (lambda: DiagonalBiLSTM((1, 4, 4), num_layers=0), "num_layers must be"),
        (lambda: RowLSTM((1, 4, 4), features=0), "features must be"),
        (lambda: RowLSTM((3, 4, 4), features=2), "3 colour channels"),
    ],
)
def test_mistakes_are_one_clear_line(make, words):
    with pytest.raises(ChainruleError) as raised:
        make()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
