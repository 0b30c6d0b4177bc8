"""PixelCNN and Gated PixelCNN: masks, what each pixel sees, caches, and the lecture's topic 12."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import conv2d

from chainrule.conditionals import Categorical, DiscretizedLogisticMixture, Mixed
from chainrule.errors import ChainruleError
from chainrule.layers import products
from chainrule.layers.conv_stepper import (
    PixelProduct,
    PixelRow,
    RowCache,
    RowProduct,
    pixel_weights,
    row_weights,
)
from chainrule.layers.gate import gated
from chainrule.layers.masked_conv import MaskedConv2d, ShiftedConv2d, colour_bounds, colour_of, pixel_mask
from chainrule.models import GatedPixelCNN, PixelCNN
from chainrule.testing import check_model

BOTH = pytest.mark.parametrize("model_class", [PixelCNN, GatedPixelCNN])


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(model_class, shape, **settings):
    depth = {"num_blocks": 2} if model_class is PixelCNN else {"num_layers": 2, "kernel_size": 3}
    settings = {"features": 6, "first_kernel_size": 3, "head": (5,), **depth, **settings}
    return model_class(shape, **settings)


# ------------------------------------------------------------------------------ the whole contract


@BOTH
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 3, 4), {}),
        ((1, 4, 3), {"ordering": "column"}),
        ((1, 3, 3), {"kernel_size": 5, "first_kernel_size": 7, "ordering": "reversed"}),
        ((1, 1, 5), {"head": ()}),
        ((1, 5, 1), {"features": 3}),
        ((3, 2, 2), {"conditional": Categorical(4)}),
        ((3, 2, 2), {"conditional": Categorical(4), "ordering": "reversed", "context_size": 2}),
        ((3, 2, 2), {"conditional": Categorical(4), "one_hot": True, "ordering": "column", "features": 7}),
        ((2, 2, 3), {"conditional": DiscretizedLogisticMixture(8, 2), "context_size": 3}),
        ((4, 2, 2), {"head": (9, 4)}),
    ],
    ids=str,
)
def test_conforms(model_class, shape, settings):
    check_model(small(model_class, shape, **settings), num_samples=600)


def test_a_gated_stack_of_one_layer_and_kernels_of_one_pixel():
    check_model(GatedPixelCNN((2, 2, 2), features=4, num_layers=1, head=()), num_samples=600)
    check_model(small(GatedPixelCNN, (1, 3, 3), kernel_size=1), num_samples=600)


def test_256_levels():
    """Intensities from -1 to 1, and 256 logits a pixel."""
    model = small(GatedPixelCNN, (1, 3, 3), conditional=Categorical(256)).double()
    x = torch.randint(256, (20, 1, 3, 3), generator=torch.Generator().manual_seed(1)).double()
    assert model._as_seen(torch.zeros_like(x)).unique().tolist() == [-1.0]
    assert model._as_seen(torch.full_like(x, 255.0)).unique().tolist() == [1.0]
    noise = torch.rand(20, 9, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.equal(model.sample(noise=noise), model.sample(noise=noise, method="naive"))


# ------------------------------------------------------------------------------ masks and layers


def test_masks_of_the_lecture():
    """Examples 12.3 to 12.5."""
    assert pixel_mask(3, "A").tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert pixel_mask(3, "B").tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    layer = filter_of_the_lecture()
    whole = torch.cat([layer.kernel()[0, 0], torch.zeros(1, 3)])
    assert torch.equal(whole, torch.tensor([[0.1, 0.2, 0.1], [0.2, 0, 0], [0, 0, 0]]))


def filter_of_the_lecture():
    layer = MaskedConv2d(1, 1, 3, "A", bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 0.2, 0.1], [0.2, 0.5, 0.2], [0.1, 0.2, 0.1]]))
    return layer


def test_response_of_the_lecture():
    """Examples 12.6 (where the notes say 11 instead of 12) and 12.7: pixel 13 of a 5 x 5 image."""
    image = torch.rand(1, 1, 5, 5)
    for pixel, value in ((7, 0.8), (8, 0.9), (9, 0.7), (12, 0.6)):
        image.view(-1)[pixel - 1] = value
    image.requires_grad_()
    response = filter_of_the_lecture()(image).relu().view(-1)[13 - 1]
    assert response.item() == pytest.approx(0.45)
    response.backward()
    assert (image.grad.view(-1).nonzero()[:, 0] + 1).tolist() == [7, 8, 9, 12]


def test_counts_of_the_lecture():
    """Examples 12.10 and 12.17: fifteen 3 x 3 layers from 3 to 128 channels, on 32 x 32."""
    layers = [MaskedConv2d(3 if first else 128, 128, 3, "B", bias=False) for first in [1] + [0] * 14]
    weights = sum(layer.weight.numel() for layer in layers)
    assert weights == 2_067_840
    assert weights * 32 * 32 == 2_117_468_160
    # What is computed of them: two of three rows.
    assert sum(layer.multiply_adds for layer in layers) * 3 == weights * 2


def test_parameters_and_multiply_adds_of_the_models():
    """K^2 D_in D_out and biases for the published kernels; the open halves alone for the two stacks."""
    model = PixelCNN((1, 28, 28), features=16, num_blocks=7, head=(32, 32))
    block = (32 * 16 + 16) + (9 * 16 * 16 + 16) + 16 * 32
    assert model.num_parameters == (49 * 32 + 32) + 7 * block + 2 * (32 * 32 + 32) + 33
    d, k = 8, 5
    gated_model = GatedPixelCNN((1, 9, 9), features=d, num_layers=3, kernel_size=k, head=())
    first = (3 * 7 * 2 * d + 2 * d) + (4 * d * d + 2 * d) + 3 * 2 * d + d * d
    later = 2 * d * d * (k * (k + 1) // 2 + 2 + (k + 1) // 2) + d * d + 4 * d
    assert gated_model.num_parameters == first + 2 * later + d + 1
    biases = sum(p.numel() for name, p in gated_model.named_parameters() if name.endswith("bias"))
    assert gated_model.multiply_adds == 81 * (gated_model.num_parameters - biases)


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_masked_convolution_is_its_mask_times_its_weight(kind, channels):
    layer = MaskedConv2d(4, 9, 5, kind, channels=channels).double()
    x = torch.randn(2, 4, 6, 3, dtype=torch.float64)
    mask = pixel_mask(5, kind, colour_of(4, channels), colour_of(9, channels)).double()
    whole = conv2d(x, layer.weight * mask, layer.bias, padding=2)
    torch.testing.assert_close(layer(x), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["A", "B"])
def test_colours_of_a_pixel_hear_each_other_in_order(kind):
    """The channel dependence table of topic 12, by gradient: G hears R, B hears R and G; B also itself."""
    layer = MaskedConv2d(6, 7, 3, kind, channels=3, bias=False)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0, :, 1, 1], torch.rand(1, 6, 3, 3))
    at_pixel = jacobian[:, 0, :, 1, 1] != 0
    heard, hearing = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    expected = heard < hearing[:, None] if kind == "A" else heard <= hearing[:, None]
    assert torch.equal(at_pixel, expected)
    assert bool((jacobian[:, 0, :, 0] != 0).all())  # every colour of the row above


def test_features_are_divided_evenly_in_blocks():
    assert colour_bounds(8, 3) == [0, 2, 5, 8]
    assert colour_of(8, 3, blocks=2).tolist() == [0, 1, 2, 2, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("rows", "columns"), [((-3, -1), (-2, 2)), ((-1, 0), (-1, 1)), ((0, 0), (-2, -1)), ((-1, 0), (-1, 0))]
)
def test_a_shifted_convolution_sees_its_window(rows, columns):
    layer = ShiftedConv2d(2, 3, rows=rows, columns=columns, bias=False)
    at = (4, 3)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: layer(x)[0, :, at[0], at[1]].sum(), torch.rand(1, 2, 7, 6)
    )
    seen = {tuple(p) for p in jacobian[0].abs().sum(0).nonzero().tolist()}
    window = itertools.product(range(rows[0], rows[1] + 1), range(columns[0], columns[1] + 1))
    assert seen == {(at[0] + dy, at[1] + dx) for dy, dx in window}
    assert layer(torch.rand(1, 2, 1, 1)).shape == (1, 3, 1, 1)  # smaller than the window


def test_the_gate():
    z = torch.randn(3, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    a, b = z.chunk(2, dim=1)
    torch.testing.assert_close(gated(z), torch.tanh(a) * torch.sigmoid(b), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(gated, z)


def test_the_gate_keeps_small_values_in_half_precision():
    z = torch.tensor([[1e-3, 0.0]], dtype=torch.bfloat16)
    assert gated(z).item() == pytest.approx(5e-4, rel=0.01)


# ------------------------------------------------------------------------------ what a pixel can see


def seen_from(model, row, column, colour=0):
    """The variables (colour, row, column) on which the parameters of a variable depend, by gradient."""
    model = model.double().eval()
    x = torch.rand(16, *model.event_shape, dtype=torch.float64, requires_grad=True)
    model(x)[:, colour, row, column].square().sum().backward()
    return {tuple(p) for p in x.grad.abs().sum(0).nonzero().tolist()}


def stack(model_class, layers, side):
    """A network of that many layers of 3 x 3 kernels, over a window that fits them."""
    if model_class is PixelCNN:
        return PixelCNN((1, side, side), features=8, num_blocks=layers - 1, first_kernel_size=3, head=())
    return GatedPixelCNN(
        (1, side, side), features=8, num_layers=layers, kernel_size=3, first_kernel_size=3, head=()
    )


def window(layers):
    """Offsets of the pixels before the present one in the window of that many layers."""
    reach = range(-layers, layers + 1)
    return {(dy, dx) for dy, dx in itertools.product(reach, reach) if (dy, dx) < (0, 0)}


def blind_spot(layers):
    """Above and to the right, further right than up."""
    return {(dy, dx) for dy, dx in window(layers) if dy < 0 and dx > -dy}


@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_exactly_which_pixels_are_seen(layers):
    """PixelCNN all but its blind spot, Gated PixelCNN all; one pixel beyond the window, none of either."""
    side, middle = 2 * layers + 3, layers + 1

    def offsets(model_class):
        seen = seen_from(stack(model_class, layers, side), middle, middle)
        return {(row - middle, column - middle) for _, row, column in seen}

    assert offsets(GatedPixelCNN) == window(layers)
    assert offsets(PixelCNN) == window(layers) - blind_spot(layers)


@pytest.mark.parametrize(
    ("layers", "side", "allowed", "seen", "blind"),
    [(1, 3, 4, 4, 0), (2, 5, 12, 11, 1), (3, 7, 24, 21, 3), (15, 31, 480, 375, 105)],
)
def test_receptive_fields_of_the_lecture(layers, side, allowed, seen, blind):
    """Examples 12.12 to 12.15: window 2L + 1, 2L (L + 1) pixels before the centre, L (L - 1) / 2 not seen."""
    of_gated = seen_from(stack(GatedPixelCNN, layers, side), layers, layers)
    of_plain = seen_from(stack(PixelCNN, layers, side), layers, layers)
    assert max(row for _, row, _ in of_gated) - min(row for _, row, _ in of_gated) == layers
    assert 2 * max(column - layers for _, _, column in of_gated) + 1 == side
    assert (len(of_gated), len(of_plain), len(of_gated - of_plain)) == (allowed, seen, blind)


@BOTH
def test_colours_are_seen_in_the_order_red_green_blue(model_class):
    model = small(model_class, (3, 4, 4), conditional=Categorical(4), features=12, head=())
    fields = [seen_from(model, 2, 2, colour) for colour in range(3)]
    pixels = [{(row, column) for _, row, column in field if (row, column) != (2, 2)} for field in fields]
    assert pixels[0] == pixels[1] == pixels[2]
    for colour, field in enumerate(fields):
        assert {c for c, row, column in field if (row, column) == (2, 2)} == set(range(colour))
        earlier = {(c, row, column) for c in range(3) for row, column in pixels[0]}
        assert {place for place in field if place[1:] != (2, 2)} == earlier


def test_an_image_in_column_order_is_seen_in_columns():
    model = stack(GatedPixelCNN, 2, 5)
    turned = GatedPixelCNN(**{**model.settings(), "ordering": "column"})
    turned.load_state_dict(model.state_dict())
    seen = seen_from(model, 2, 2)
    assert seen_from(turned, 2, 2) == {(c, column, row) for c, row, column in seen}


# ------------------------------------------------------------------------------ caches


@pytest.mark.parametrize(
    ("rows", "columns"), [((-2, -1), (-1, 1)), ((-2, 0), (-3, 3)), ((0, 0), (0, 0)), ((-1, 0), (-1, 0))]
)
def test_a_row_cache_computes_the_rows_of_the_layer(rows, columns):
    layer = ShiftedConv2d(3, 5, rows=rows, columns=columns).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    cache = RowCache(rows[1] - rows[0] + 1, x, 6, 2, 3)
    product = RowProduct(layer.kernel().detach(), -columns[0], layer.bias.detach(), 12)
    found = []
    for row in x.permute(2, 3, 0, 1):  # (columns, batch, features) each
        if rows[1] == 0:
            cache.push(row)
        found.append(product(cache.window))
        if rows[1] < 0:
            cache.push(row)
    torch.testing.assert_close(torch.stack(found).permute(2, 3, 0, 1), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_row_and_column_caches_together_compute_a_masked_convolution(kind, channels):
    """Rows above at once, then pixel by pixel and colour by colour; later colours are not there yet."""
    layer = MaskedConv2d(6, 7, 5, kind, channels=channels).double()
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    cache, row = RowCache(2, x, 4, 2, 6), PixelRow(x, 4, 2, 6, reach=2)
    above = RowProduct(row_weights(layer), 2, layer.bias.detach(), 8)
    along = PixelProduct(pixel_weights(layer), 2)
    heard, made = colour_bounds(6, channels), colour_bounds(7, channels)
    found = torch.full((2, 7, 3, 4), torch.nan, dtype=torch.float64)
    for number in range(3):
        start = above(cache.window)
        row.values[:, 12:] = torch.nan
        for column, colour in itertools.product(range(4), range(channels)):
            own = slice(heard[colour], heard[colour + 1])
            if kind == "B":
                row.at(column, own.start, own.stop).copy_(x[:, own, number, column])
            taps = row.taps(column, heard[colour + 1] if kind == "B" else heard[colour])
            out = torch.empty(2, made[colour + 1] - made[colour], dtype=torch.float64)
            along.add_to(start[column][:, made[colour] : made[colour + 1]], taps, colour, out)
            found[:, made[colour] : made[colour + 1], number, column] = out
            row.at(column, own.start, own.stop).copy_(x[:, own, number, column])
        cache.push(row.as_row().clone())
    torch.testing.assert_close(found, layer(x).detach(), rtol=1e-12, atol=1e-12)


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
    """Large products are oneDNN's packed ones where this PyTorch has them; here small ones are too."""
    monkeypatch.setattr(products, "_WORTH_PACKING", 0)
    if not packed:
        monkeypatch.setattr(products, "_packed", lambda *_: None)
    model = small(model_class, (1, 5, 6), features=32, context_size=2).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # biases begin at 0
    x = (torch.rand(16, 1, 5, 6) < 0.4).float()
    context = torch.eye(2).repeat(8, 1)
    with torch.no_grad():
        expected = model.to_sequence(model(x, context))
    found, _ = params_by_steps(model, x, context)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_where_pytorch_cannot_pack_blas_is_used(monkeypatch):
    weight = torch.randn(5, 7)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(products, "_WORTH_PACKING", 0)
    product = products.RepeatedProduct(weight, 64)
    assert product.packed is None
    x, out = torch.randn(64, 7), torch.empty(64, 5)
    product.add_to(None, x, out)
    torch.testing.assert_close(out, x @ weight.T)


@BOTH
@pytest.mark.filterwarnings("error")  # of a buffer that has the wrong size
@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 3, 2)])
@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_rows_of_a_state_go_on_as_they_were(model_class, shape, at):
    model = small(model_class, shape, conditional=Categorical(4), context_size=2).double().eval()
    x = torch.randint(4, (3, *shape), generator=torch.Generator().manual_seed(3)).double()
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
    """Example 12.11: the plain sampler makes a pass for each of H W C variables."""
    model = small(model_class, (3, 2, 3), conditional=Categorical(4)).eval()
    passes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *x: passes.append(1) or forward(*x))
    model.sample(2, seed=0)
    assert not passes
    model.sample(2, seed=0, method="naive")
    assert len(passes) == 2 * 3 * 3


@BOTH
def test_memory_grows_with_width_and_depth_and_not_with_the_height(model_class):
    def kept(shape, depth=2):
        model = small(
            model_class, shape, **{"num_blocks" if model_class is PixelCNN else "num_layers": depth}
        )
        _, state = params_by_steps(model, torch.zeros(2, *shape))
        return state.num_bytes

    assert kept((1, 12, 8)) == kept((1, 4, 8))
    assert 1.7 * kept((1, 4, 8)) < kept((1, 4, 16)) < 2 * kept((1, 4, 8))
    of_a_layer = kept((1, 2, 8), depth=3) - kept((1, 2, 8), depth=2)
    assert kept((1, 2, 8), depth=6) == kept((1, 2, 8), depth=2) + 4 * of_a_layer


# ------------------------------------------------------------------------------ training


def test_the_closed_half_of_a_kernel_has_no_gradient():
    model = small(PixelCNN, (2, 4, 4))
    model.log_prob((torch.rand(5, 2, 4, 4) < 0.5).float()).sum().backward()
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d):
            closed = pixel_mask(layer.size, layer.kind, layer.heard, layer.hearing) == 0
            assert bool((layer.weight.grad[closed] == 0).all())
            assert bool((layer.weight.grad[~closed] != 0).any())


@BOTH
def test_mixed_precision_gives_likelihoods_in_single(model_class):
    model = small(model_class, (1, 6, 6))
    x = (torch.rand(4, 1, 6, 6) < 0.5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_prob = model.log_prob(x)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, model.log_prob(x), rtol=0.02, atol=0.2)
    log_prob.sum().backward()


@BOTH
def test_dropout_is_for_training_alone(model_class):
    model = small(model_class, (1, 4, 4), dropout=0.5)
    x = (torch.rand(3, 1, 4, 4) < 0.5).float()
    assert not torch.equal(model.train().log_prob(x), model.log_prob(x))
    assert torch.equal(model.eval().log_prob(x), model.log_prob(x))


@BOTH
def test_samples_of_a_class_look_like_the_class(model_class):
    """Class 0 has its upper half on, class 1 its lower half: learned in a few steps, and sampled so."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (64,), generator=generator)
    on = torch.zeros(64, 1, 4, 4)
    on[labels == 0, :, :2], on[labels == 1, :, 2:] = 1.0, 1.0
    x = (torch.rand(on.shape, generator=generator) < 0.1 + 0.8 * on).float()
    model = small(model_class, (1, 4, 4), features=12, context_size=2)
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
        (lambda: PixelCNN((784,)), "images, event_shape (C, H, W), not (784,)"),
        (lambda: GatedPixelCNN((1, 4, 4), ordering="spiral"), "raster, reversed, column, not 'spiral'"),
        (lambda: GatedPixelCNN((1, 4, 4), kernel_size=4), "kernel_size must be odd"),
        (lambda: PixelCNN((1, 4, 4), first_kernel_size=1), "at least 3, not 1"),
        (lambda: small(PixelCNN, (3, 4, 4), head=(2,)), "3 colour channels"),
        (lambda: small(GatedPixelCNN, (1, 4, 4), dropout=1.0), "dropout must be"),
        (lambda: MaskedConv2d(1, 1, 3, "C"), "'C'"),
        (
            lambda: small(PixelCNN, (1, 1, 2), conditional=Mixed(["bernoulli", Categorical(3)])),
            "same family",
        ),
    ],
)
def test_mistakes_are_one_clear_line(make, words):
    with pytest.raises(ChainruleError) as raised:
        make()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
