"""PixelCNN++: streams, resolutions and their caches, what each pixel sees, colours, training, saving."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from torch.nn.functional import elu, pad
from torch.utils.flop_counter import FlopCounterMode

from chainrule import load
from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.errors import ChainruleError
from chainrule.layers import products
from chainrule.layers.concat_elu import concat_elu, concat_elu_into
from chainrule.layers.gated_resnet import FeatureMap, GatedResnet, window_of
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.layers.resampling import Grow, GrowPixels, GrowRows, Shrink, ShrinkPixels, ShrinkRows, halved
from chainrule.layers.stream_stepper import RowConvolution, RowMap
from chainrule.models import PixelCNNPP
from chainrule.testing import check_model

COLOURS = DiscretizedLogisticMixture(levels=5, components=2)


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(shape, **settings):
    return PixelCNNPP(shape, **{"features": 4, "num_blocks": 1, **settings})


def awake(model):
    """Blocks add little at first and biases nothing: make both count, in double precision."""
    for parameter in model.double().parameters():
        inputs = parameter[0].numel() if parameter.dim() > 1 else 16
        parameter.data += 0.7 * torch.randn_like(parameter) / inputs**0.5
    return model.eval()


def drawn(model, batch_size, seed=1):
    """Any values that the model can have."""
    levels = len(model.conditional.support())
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(levels, (batch_size, *model.event_shape), generator=generator)
    return x.to(next(model.parameters()).dtype)


# ------------------------------------------------------------------------------ the whole contract


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 2, 4), {}),
        ((1, 3, 2), {"ordering": "column", "num_blocks": 2, "levels": 2}),
        ((1, 3, 3), {"ordering": "reversed", "levels": 4}),
        ((3, 3), {"levels": 1, "weight_norm": True}),
        ((1, 1, 5), {"context_size": 2}),
        ((1, 5, 1), {"features": 3}),
        ((1, 1, 4), {"conditional": Categorical(4), "one_hot": True}),
        ((1, 2, 2), {"conditional": COLOURS, "ordering": "reversed"}),
        ((2, 2, 1), {"conditional": COLOURS, "context_size": 3, "dropout": 0.2}),
        ((3, 1, 2), {"conditional": DiscretizedLogisticMixture(3, 2), "ordering": "reversed", "levels": 2}),
        (
            (2, 2, 2),
            {"conditional": DiscretizedLogisticMixture(2, 1), "ordering": "column", "weight_norm": True},
        ),
    ],
    ids=str,
)
def test_conforms(shape, settings):
    check_model(small(shape, **settings), num_samples=600)


def test_the_published_network():
    """160 features, 5 blocks, 3 resolutions, 10 components of 256 levels: 100 numbers a pixel."""
    published = {"features": 160, "num_blocks": 5, "levels": 3, "dropout": 0.5}
    by_default = inspect.signature(PixelCNNPP).parameters
    assert {name: by_default[name].default for name in published} == published
    model = PixelCNNPP((3, 32, 32), features=8)
    assert model.conditional.settings() == {"levels": 256, "components": 10}
    assert model.coupling.num_params == 100
    d = model.features
    above = 6 * 2 * d * d + 6 * 2 * d * 2 * d
    along = 4 * 2 * d * d + 4 * 2 * d * 2 * d
    shortcut = 2 * d * d
    down, up = above + along + shortcut, above + along + 3 * shortcut
    resampling = (6 + 4) * d * d * 2
    read, written = (6 + 3 + 2) * 4 * d, 100 * d
    weights = 15 * down + (5 + 6 + 6) * up + 2 * resampling + read + written
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    assert model.num_parameters == weights + biases
    assert biases == (15 + 17) * 2 * 3 * d + 2 * 4 * d + 2 * d + 100


def test_multiply_adds_are_those_that_are_done():
    model = small((3, 20, 20), features=16, context_size=2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 20, 20), torch.zeros(1, 2))
    done = counter.get_total_flops() / 2
    # 1 x 1 layers are computed at the border too.
    assert model.multiply_adds < done < 1.05 * model.multiply_adds


def test_families_by_default():
    assert small((1, 4, 4)).conditional.name == small((4, 4)).conditional.name == "bernoulli"
    assert small((3, 4, 4)).conditional.name == "discretized_logistic_mixture"


# ------------------------------------------------------------------------------ layers


def test_concatenated_elu():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.cat([elu(x), elu(-x)], dim=1)
    torch.testing.assert_close(concat_elu(x), expected)
    torch.testing.assert_close(concat_elu(x, (1, 2, 3, 0)), pad(expected, (1, 2, 3, 0)))
    out = torch.empty(2, 5, 4, 6, dtype=torch.float64)
    concat_elu_into(x.detach().transpose(1, 3), out)
    torch.testing.assert_close(out.transpose(1, 3), expected.detach())
    assert torch.autograd.gradcheck(lambda x: concat_elu(x, (1, 0, 1, 0)), x)


@pytest.mark.parametrize("stream", ["above", "along"])
def test_a_block_is_its_equations(stream):
    block = GatedResnet(3, stream, shortcuts=2, context_size=2, gain=1.0).double()
    maps = [torch.randn(2, 3, 4, 5, dtype=torch.float64) for _ in range(3)]
    context = torch.randn(2, 2, dtype=torch.float64)
    found = block(FeatureMap(maps[0], stream), [FeatureMap(m, "along") for m in maps[1:]], context, 0.0)
    active = [torch.cat([elu(m), elu(-m)], dim=1) for m in maps]
    z = block.conv_in(active[0]) + sum(layer(m) for layer, m in zip(block.shortcuts, active[1:], strict=True))
    z = block.conv_out(torch.cat([elu(z), elu(-z)], dim=1)) + block.to_gate(context)[:, :, None, None]
    a, b = z.chunk(2, dim=1)
    torch.testing.assert_close(found.raw, maps[0] + a * b.sigmoid(), rtol=1e-12, atol=1e-12)


def places_heard(layer, size, place):
    """The places of a layer's input on which one of its output depends."""
    x = torch.rand(1, 1, *size, requires_grad=True)
    y = layer(x)[0, :, place[0], place[1]].sum()
    (grad,) = torch.autograd.grad(y, x)
    return {tuple(p) for p in grad[0, 0].nonzero().tolist()}


@pytest.mark.parametrize("stream", ["above", "along"])
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_what_halving_and_doubling_hear(stream, size):
    """A coarse place what its fine one hears; a fine place its coarse one, and in whole rows a neighbour."""
    coarse = tuple(map(halved, size))
    rows, columns = window_of(stream)
    shrink = Shrink(1, 2, rows=rows, columns=columns)
    for row, column in itertools.product(*map(range, coarse)):
        window = itertools.product(
            range(2 * row - 1, 2 * row + 1), range(2 * column + columns[0], 2 * column + columns[1] + 1)
        )
        inside = {place for place in window if 0 <= place[0] < size[0] and 0 <= place[1] < size[1]}
        assert places_heard(shrink, size, (row, column)) == inside
    grow = Grow(1, 2, 3 if stream == "above" else 2)
    for row, column in itertools.product(*map(range, size)):
        heard = {(row // 2, column // 2)}
        if stream == "above" and column % 2 == 1 and column // 2 + 1 < coarse[1]:
            heard.add((row // 2, column // 2 + 1))
        assert places_heard(lambda x: grow(x, size), coarse, (row, column)) == heard


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (3, 1)])
def test_halving_and_doubling_step_by_step(size):
    height, width = size
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    small_x = torch.randn(2, 3, halved(height), halved(width), dtype=torch.float64)
    shrinks = [Shrink(3, 5, rows=(-1, 0), columns=window_of(s)[1]).double() for s in ("above", "along")]
    grows = [Grow(3, 5, columns).double() for columns in (3, 2)]
    for layer in grows:
        layer.bias.data.normal_()
    with torch.no_grad():
        by_row = ShrinkRows(shrinks[0], width, 2, x), GrowRows(grows[0], width, 2, x)
        by_pixel = ShrinkPixels(shrinks[1], width, 2, x), GrowPixels(grows[1], width, 2, x)
        coarse = [torch.full((2, 5, *small_x.shape[2:]), torch.nan).double() for _ in range(2)]
        fine = [torch.full((2, 5, height, width), torch.nan).double() for _ in range(2)]
        for row in range(height):
            by_row[0].push(x[:, :, row].permute(2, 0, 1))
            if row % 2 == 0:
                coarse[0][:, :, row // 2] = by_row[0].row().permute(1, 2, 0)
                by_row[1].take(small_x[:, :, row // 2].permute(2, 0, 1))
                by_pixel[0].begin_row()
            fine[0][:, :, row] = by_row[1].fine[row % 2].permute(1, 2, 0)
            for column in range(width):
                by_pixel[0].keep(column, x[:, :, row, column])
                if row % 2 == 0 and column % 2 == 0:
                    coarse[1][:, :, row // 2, column // 2] = by_pixel[0].pixel(column)
                    by_pixel[1].take(column // 2, small_x[:, :, row // 2, column // 2])
                fine[1][:, :, row, column] = by_pixel[1].at(row, column)
        for found, layer in zip(coarse, shrinks, strict=True):
            torch.testing.assert_close(found, layer(x), rtol=1e-12, atol=1e-12)
        for found, layer in zip(fine, grows, strict=True):
            torch.testing.assert_close(found, layer(small_x, size), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("columns", [(-1, 1), (-1, 0), (-2, 2), (0, 0)])
@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_rows(columns, width, bias):
    layer = ShiftedConv2d(6, 5, rows=(-1, 0), columns=columns, bias=bias).double()
    x = torch.randn(2, 3, 4, width, dtype=torch.float64)
    active = torch.cat([elu(x), elu(-x)], dim=1)
    rows = RowMap(3, width, 2, x)
    convolution = RowConvolution(
        layer.kernel().detach(), columns[0], None if layer.bias is None else layer.bias.detach(), 2 * width
    )
    found = []
    for row in x.permute(2, 3, 0, 1):
        rows.push(row)
        found.append(convolution(rows.window))
    torch.testing.assert_close(
        torch.stack(found).permute(2, 3, 0, 1), layer(active).detach(), rtol=1e-12, atol=1e-12
    )


# ------------------------------------------------------------------------------ what a pixel can see


def fields(model, colour=0):
    """For every pixel the variables (colour, row, column) on which its parameters depend, by gradient."""
    _, height, width = model.event_shape
    x = drawn(model, 4).requires_grad_()
    params = model(x)
    found = {}
    for row, column in itertools.product(range(height), range(width)):
        of_pixel = params[:, colour, row, column].square().sum()
        (grad,) = torch.autograd.grad(of_pixel, x, retain_graph=True)
        found[row, column] = {tuple(p) for p in grad.abs().sum(0).nonzero().tolist()}
    return found


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 7, 5), (1, 6, 6)])
def test_every_earlier_pixel_is_seen_and_no_later_one(shape, levels):
    """No blind spot, at any place of any resolution; gradients of later pixels are exactly 0."""
    model = awake(small(shape, levels=levels, num_blocks=2))
    for pixel, seen in fields(model).items():
        pixels = itertools.product(range(shape[1]), range(shape[2]))
        assert seen == {(0, *other) for other in pixels if other < pixel}


def test_how_far_a_pixel_sees():
    """Through the lower resolutions the whole image, but for the far ends of its row and of the row above.

    Of these the lower resolutions may not have heard. With n blocks it sees 2 + 4 n pixels of them.
    """
    side, reach = 10, 6
    for (row, column), seen in fields(awake(small((1, side, side)))).items():
        pixels = itertools.product(range(side), range(side))
        missed = {p for p in pixels if p < (row, column)} - {p[1:] for p in seen}
        assert all(row - r <= 1 and abs(column - c) > reach for r, c in missed)
        assert not any(p[1:] >= (row, column) for p in seen)
        if (row, column) == (1, 0):
            assert missed == {(0, c) for c in range(reach + 1, side)}


def test_colours_are_seen_in_the_order_red_green_blue():
    model = awake(small((3, 4, 4), conditional=COLOURS))
    earlier = {
        (c, r, k) for c in range(3) for r, k in itertools.product(range(4), range(4)) if (r, k) < (2, 1)
    }
    for colour in range(3):
        assert fields(model, colour)[2, 1] == earlier | {(c, 2, 1) for c in range(colour)}


def test_an_image_in_column_order_is_seen_in_columns():
    model = awake(small((1, 5, 4)))
    turned = PixelCNNPP(**{**model.settings(), "event_shape": (1, 4, 5), "ordering": "column"})
    turned.double().load_state_dict(model.state_dict())
    x = drawn(model, 3)
    torch.testing.assert_close(turned.eval()(x.transpose(2, 3)).transpose(2, 3), model(x))


# ------------------------------------------------------------------------------ caches


def params_by_steps(model, x, context=None, state=None, first=0):
    sequence = model.to_sequence(x)
    state = model.init_state(len(x), context) if state is None else state
    params = []
    for position in range(first, model.num_variables):
        of_one, state = model.step(state, sequence[:, position - 1] if position else None)
        params.append(of_one)
    return torch.stack(params, dim=1), state


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 28, 28), {}),
        ((1, 7, 5), {"num_blocks": 2, "levels": 4, "context_size": 2}),
        ((1, 9, 1), {"weight_norm": True}),
        ((1, 1, 9), {"ordering": "reversed"}),
        ((3, 5, 6), {"conditional": COLOURS, "context_size": 2}),
        ((2, 6, 3), {"conditional": COLOURS, "ordering": "column", "levels": 1}),
    ],
    ids=str,
)
def test_steps_are_the_parallel_pass(shape, settings):
    model = awake(small(shape, **settings))
    x = drawn(model, 3)
    context = torch.randn(3, 2, dtype=torch.float64) if model.context_size else None
    found, _ = params_by_steps(model, x, context)
    torch.testing.assert_close(found, model.to_sequence(model(x, context)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("packed", [True, False])
def test_single_precision_with_and_without_packed_products(packed, monkeypatch):
    """A batch of 16 takes oneDNN's packed products where this PyTorch has them."""
    if not packed:
        monkeypatch.setattr(products, "_packed", lambda *_: None)
    model = awake(small((1, 6, 7), features=16)).float()
    x = drawn(model, 16)
    found, _ = params_by_steps(model, x)
    torch.testing.assert_close(found, model.to_sequence(model(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"conditional": COLOURS, "context_size": 3}, {"conditional": DiscretizedLogisticMixture()}]
)
def test_the_sample_is_that_of_the_plain_sampler(settings):
    model = awake(small((3, 4, 5), **settings))
    noise = torch.rand(6, 60, 2, dtype=torch.float64)
    context = torch.arange(6) % 3 if model.context_size else None
    x = model.sample(noise=noise, context=context)
    assert len(x.unique()) > 3
    assert torch.equal(x, model.sample(noise=noise, context=context, method="naive"))


@pytest.mark.filterwarnings("error")  # of a buffer that has the wrong size
@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 3, 2)])
@pytest.mark.parametrize("at", [0, 1, 4, 7, 11])
def test_rows_of_a_state_go_on_as_they_were(shape, at):
    model = awake(small(shape, conditional=COLOURS, context_size=2))
    x = drawn(model, 3)
    context = torch.randn(3, 2, dtype=torch.float64)
    whole, _ = params_by_steps(model, x, context)
    state = model.init_state(3, context)
    sequence = model.to_sequence(x)
    for position in range(at):
        _, state = model.step(state, sequence[:, position - 1] if position else None)
    rows = torch.tensor([2, 0, 2, 1])
    rest, _ = params_by_steps(model, x[rows], state=model.select_state(state, rows), first=at)
    torch.testing.assert_close(rest, whole[rows, at:], rtol=1e-12, atol=1e-12)


def test_a_sample_needs_no_pass(monkeypatch):
    model = small((3, 2, 3), conditional=COLOURS).eval()
    passes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *x: passes.append(1) or forward(*x))
    model.sample(2, seed=0)
    assert not passes
    model.sample(2, seed=0, method="naive")
    assert len(passes) == 2 * 3 * 3


def test_memory_grows_with_the_width_and_not_with_the_height():
    def kept(shape):
        model = small(shape)
        _, state = params_by_steps(model, torch.zeros(2, *shape))
        return state.num_bytes

    assert kept((1, 12, 8)) == kept((1, 4, 8))
    assert 1.7 * kept((1, 4, 8)) < kept((1, 4, 16)) < 2 * kept((1, 4, 8))


# ------------------------------------------------------------------------------ training and use


def test_training_learns_and_dropout_is_for_training_only():
    model = small((2, 4, 4), features=8, conditional=COLOURS, dropout=0.5)
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(5, (32, 2, 4, 1), generator=generator).float()
    x = rows.expand(-1, -1, -1, 4)  # a row is of one colour
    before = model.eval().nll(x).mean().item()
    state = torch.random.get_rng_state()
    assert torch.equal(model.nll(x), model.nll(x))
    assert torch.equal(torch.random.get_rng_state(), state)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.01)
    assert not torch.equal(model.nll(x), model.nll(x))
    for _ in range(50):
        optimizer.zero_grad()
        model.nll(x).mean().backward()
        optimizer.step()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not unused
    assert model.eval().nll(x).mean().item() < 0.6 * before


def test_without_dropout_training_draws_nothing():
    model = small((1, 4, 4), dropout=0.0).train()
    state = torch.random.get_rng_state()
    assert torch.equal(model(torch.ones(1, 1, 4, 4)), model(torch.ones(1, 1, 4, 4)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_mixed_precision_gives_likelihoods_in_single():
    model = small((3, 6, 6), features=8)
    model.eval()
    x = drawn(model, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_prob = model.log_prob(x)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, model.log_prob(x), rtol=0.02, atol=0.2)
    log_prob.sum().backward()


def test_the_context_tells_classes_apart():
    model = awake(small((3, 3, 3), conditional=COLOURS, context_size=4))
    x = drawn(model, 1).expand(4, -1, -1, -1)
    assert len(model.log_prob(x, torch.arange(4)).unique()) == 4
    one_hot = torch.eye(4, dtype=torch.float64)
    assert torch.equal(model.log_prob(x, one_hot), model.log_prob(x, torch.arange(4)))


@pytest.mark.parametrize(
    ("shape", "settings"),
    [((3, 3, 4), {"conditional": COLOURS, "context_size": 2}), ((1, 4, 4), {"weight_norm": True})],
)
def test_what_was_saved_comes_back(shape, settings, tmp_path):
    model = awake(small(shape, **settings))
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert type(again) is PixelCNNPP
    assert again.settings() == model.settings()
    x = drawn(model, 3)
    context = torch.arange(3) % 2 if model.context_size else None
    assert torch.equal(again.log_prob(x, context), model.log_prob(x, context))


def test_weight_norm_begins_with_the_same_network():
    x = drawn(small((1, 5, 5)), 2)
    outputs = []
    for weight_norm in (False, True):
        torch.manual_seed(3)
        outputs.append(small((1, 5, 5), weight_norm=weight_norm).eval()(x))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((3, 4, 4), {"conditional": "bernoulli"}, "sees all colours of a pixel at once"),
        ((3, 4, 4), {"conditional": Categorical(4)}, "not 'categorical'"),
        ((9,), {}, "event_shape (C, H, W)"),
        (7, {}, "event_shape"),
        ((1, 4, 4), {"ordering": "spiral"}, "not 'spiral'"),
        ((1, 4, 4), {"levels": 0}, "levels"),
        ((1, 4, 4), {"num_blocks": 0}, "num_blocks"),
        ((1, 4, 4), {"dropout": 1.0}, "dropout"),
        ((3, 0, 4), {}, "event_shape"),
    ],
)
def test_wrong_settings_are_named(shape, settings, message):
    with pytest.raises(ChainruleError) as error:
        small(shape, **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_images_of_another_size_are_refused():
    with pytest.raises(ChainruleError, match=r"\(batch, 1, 4, 4\)"):
        small((1, 4, 4)).log_prob(torch.zeros(2, 1, 4, 5))
