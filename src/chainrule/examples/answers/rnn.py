"""Topic 10: a recurrent network that spells "hello", and images pixel by pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.conditionals import Bernoulli, Categorical
from chainrule.examples.registry import answers
from chainrule.models import RNN, DiagonalBiLSTM

__all__ = ["exponentials", "plain_rnn"]

Matrix = list[list[float]]


def plain_rnn(d: int, k: int, length: int = 5) -> RNN:
    """Without biases: h_0 = b_0, W_hh, W_xh and W_hy alone."""
    family = Categorical(k)
    return RNN((length,), cell="tanh", hidden=d, layers=1, bias=False, conditional=family).double()


def rnn_parts(model: RNN) -> list[Tensor]:
    """h_0, W_hh, W_xh, W_hy."""
    return [
        model.get_parameter("initial_hidden"),
        model.get_parameter("recurrence.weight_hh_l0"),
        model.get_parameter("recurrence.weight_ih_l0"),
        model.get_parameter("head.weight"),
    ]


@torch.no_grad()
def lecture_rnn(
    h0: list[float],
    Whh: Matrix | None = None,
    Wxh: Matrix | None = None,
    Why: Matrix | None = None,
    length: int = 5,
) -> RNN:
    """The network with the matrices that are given; what is not given is 0."""
    k = len(Wxh[0]) if Wxh is not None else len(Why or [[], []])
    model = plain_rnn(len(h0), k, length)
    for part, values in zip(rnn_parts(model), (h0, Whh, Wxh, Why), strict=True):
        part.zero_()
        if values is not None:
            part.copy_(torch.tensor(values, dtype=torch.float64))
    return model


def letters(text: str, vocab: list[str]) -> Tensor:
    """A text as a batch of one sequence of numbers."""
    return torch.tensor([[vocab.index(letter) for letter in text]], dtype=torch.float64)


def state_after(model: RNN, x: list[int]) -> Tensor:
    """h_1, after a first character that is given by its one-hot code."""
    first = torch.tensor([[float(x.index(1))]], dtype=torch.float64)
    state: Tensor = model.read(model.init_state(1), first)[1].hidden[0][0]
    return state


@answers("10.2")
def parts_of_rnn(d: int, k: int) -> list[int]:
    """How many numbers b_0, W_hh, W_xh and W_hy have."""
    return [part.numel() for part in rnn_parts(plain_rnn(d, k))]


@answers("10.3", "10.4")
def rnn_parameters(d: int, k: int) -> int:
    """All of them; the length of the text does not enter."""
    return plain_rnn(d, k).num_parameters


@answers("10.5")
def first_scores(Why: Matrix, h0: list[float]) -> list[float]:
    """o_1, before anything was read."""
    scores: list[float] = lecture_rnn(h0, Why=Why)(torch.zeros(1, 5).double())[0, 0].tolist()
    return scores


@answers("10.7", "10.15", "11.3")
def sum_of_exponentials(a: list[float]) -> float:
    """From a score and its log-probability, whose difference is the logarithm of the sum."""
    scores = torch.tensor(a, dtype=torch.float64)
    return (scores[0] - Categorical(len(a)).log_prob(scores, torch.tensor(0.0).double())).exp().item()


@answers("10.6", "10.14", "11.2")
def exponentials(a: list[float]) -> list[float]:
    """e^a: the shares of a softmax, times the sum they are shares of."""
    shares = Categorical(len(a)).probabilities(torch.tensor(a, dtype=torch.float64))
    values: list[float] = (shares * sum_of_exponentials(a)).tolist()
    return values


@answers("10.16")
def softmax_of_scores(a: list[float]) -> list[float]:
    """The distribution that scores stand for."""
    shares: list[float] = Categorical(len(a)).probabilities(torch.tensor(a, dtype=torch.float64)).tolist()
    return shares


@answers("10.13")
def scores_after(
    h0: list[float], Whh: Matrix, Wxh: Matrix, Why: Matrix, prefix: str, vocab: list[str]
) -> list[float]:
    """The scores of the character after a prefix, by single steps."""
    model = lecture_rnn(h0, Whh, Wxh, Why)
    scores, state = model.step(model.init_state(1), None)
    for letter in prefix:
        scores, state = model.step(state, letters(letter, vocab)[0])
    values: list[float] = scores[0].tolist()
    return values


@answers("10.8")
def probabilities_after(
    h0: list[float], Whh: Matrix, Wxh: Matrix, Why: Matrix, prefix: str, vocab: list[str]
) -> list[float]:
    """Their softmax."""
    scores = torch.tensor(scores_after(h0, Whh, Wxh, Why, prefix, vocab), dtype=torch.float64)
    shares: list[float] = Categorical(len(vocab)).probabilities(scores).tolist()
    return shares


@answers("10.9")
def recurrent_term(Whh: Matrix, h0: list[float]) -> list[float]:
    """W_hh h_0, as the pre-activation where the input has no weight."""
    model = lecture_rnn(h0, Whh, Wxh=[[0.0]] * len(h0))
    term: list[float] = torch.atanh(state_after(model, [1])).tolist()
    return term


@answers("10.10")
def input_term(Wxh: Matrix, x: list[int]) -> list[float]:
    """W_xh x_1, as the pre-activation where the state starts at 0."""
    term: list[float] = torch.atanh(state_after(lecture_rnn([0.0] * len(Wxh), Wxh=Wxh), x)).tolist()
    return term


@answers("10.12")
def first_state(h0: list[float], Whh: Matrix, Wxh: Matrix, x: list[int]) -> list[float]:
    """h_1."""
    state: list[float] = state_after(lecture_rnn(h0, Whh, Wxh), x).tolist()
    return state


@answers("10.11")
def preactivation(h0: list[float], Whh: Matrix, Wxh: Matrix, x: list[int]) -> list[float]:
    """What h_1 is the tanh of."""
    before: list[float] = torch.atanh(state_after(lecture_rnn(h0, Whh, Wxh), x)).tolist()
    return before


@answers("10.17", "10.18")
def text_conditionals(
    h0: list[float], Whh: Matrix, Wxh: Matrix, Why: Matrix, text: str, vocab: list[str]
) -> list[float]:
    """p(x_t | x_<t) of every character."""
    model = lecture_rnn(h0, Whh, Wxh, Why, len(text))
    shares: list[float] = model.log_prob_per_variable(letters(text, vocab))[0].exp().tolist()
    return shares


@answers("10.19")
def text_log_prob(
    h0: list[float], Whh: Matrix, Wxh: Matrix, Why: Matrix, text: str, vocab: list[str]
) -> float:
    """log p of the text, nats."""
    return lecture_rnn(h0, Whh, Wxh, Why, len(text)).log_prob(letters(text, vocab)).item()


@answers("10.20")
def elements(shape: list[int]) -> int:
    """Variables of an image, channels x height x width."""
    return math.prod(DiagonalBiLSTM(shape, features=3, num_layers=1).event_shape)


@answers("10.21")
def steps_of_a_sample(shape: list[int]) -> int:
    """How often a Diagonal BiLSTM is asked for the next variable while it samples one image."""
    model = DiagonalBiLSTM(shape, features=3, num_layers=1, first_kernel_size=3, head=())
    taken = 0
    step = model.step

    def counted(*arguments: object) -> object:
        nonlocal taken
        taken += 1
        return step(*arguments)  # type: ignore[arg-type]

    model.step = counted  # type: ignore[assignment, method-assign]
    model.sample(1, seed=0)
    return taken


@answers("10.22")
def steepest_tanh() -> float:
    """d h_1 / d h_0 of one unit that reads nothing, with W_hh = 1, where h_0 = 0."""
    model = lecture_rnn([0.0], Whh=[[1.0]], Wxh=[[0.0]])
    state = model.init_state(1)
    before = state.hidden[0]
    after = model.read(state, torch.zeros(1, 1).double())[1].hidden[0]
    (slope,) = torch.autograd.grad(after, before)
    return slope.item()


@answers("10.23")
def steepest_sigmoid() -> float:
    """d P(X = 1) / d logit, at a logit of 0."""
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Bernoulli().mean(logit), logit)
    return slope.item()
