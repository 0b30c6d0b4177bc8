"""Sampling by looking ahead: guess the next values, check them together, keep those that stand.

With the noise held fixed a sample is a fixed point: every value follows from its noise and from the values
before it. So the next values can be guessed, all their conditionals computed at once, and the values drawn
from them: up to the first guess that was wrong they are the values that single steps would have given, and
beyond it they are better guesses (Wiggers & Hoogeboom 2020, "Predictive sampling with forecasting
autoregressive models"; Song et al. 2021, Jacobi's iteration). `fixed_point` does this with passes over whole
examples; here every look goes on from the caches of what has settled, so that nothing is computed from the
beginning again.

With few rows a look costs little more than a step, because either is over before the weights are read, and
usually many values stand: of binarized MNIST an image of 784 pixels took 59 looks. Where they do not, values
of 256 levels say, steps are taken instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.sampling.protocol import LooksAhead

__all__ = ["by_looking_ahead"]

#: What a look costs, in steps: so many, and so much for every value that it looks at, in all rows. Looks at
#: 28 pixels of a Gated PixelCNN took the time of 4 steps with one image, and of 12 with 16.
_PRICE, _PRICE_PER_VALUE = 3.0, 1 / 48
#: What a step earns towards the next look: steps are taken where looks do not pay, and now and then a look is
#: tried again.
_EARNED = 1 / 16
#: Enough for a few looks that fail: a stretch of hard values does not end them.
_MOST_CREDIT = 32.0


@torch.no_grad()
def by_looking_ahead(
    model: LooksAhead,
    noise: Tensor,
    context: Tensor | None = None,
    temperature: float = 1.0,
    *,
    with_log_prob: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The ancestral sample for `noise`, as `ancestral` gives it, in fewer and larger pieces.

    - `noise`: `(batch, n, num_noise)`, in the model's ordering; of few rows, since what stands in one row
      but not in another has not settled.
    - `with_log_prob`: also return log p(x) of each sample under the model itself, in nats.

    Looks are paid for by what they settle. Where guesses fail they cost about a sixteenth more than steps
    alone; how much a look costs is taken from measurements, and differs from network to network.
    """
    state = model.init_state(len(noise), context)
    total = noise.new_zeros(len(noise)) if with_log_prob else None
    values = noise.new_zeros(noise.shape[:2])
    forecast = _Forecast(model, noise, temperature)
    previous: Tensor | None = None
    position, credit = 0, _MOST_CREDIT
    while position < model.num_variables:
        ahead = min(model.reach(state), model.num_variables - position)
        price = _PRICE + _PRICE_PER_VALUE * ahead * len(noise)
        if ahead > 1 and credit >= price:
            last = position + ahead
            forecast.extend(values, last)
            params = model.look_ahead(state, previous, values[:, position : last - 1])
            drawn = forecast.draw(params, position)
            count = _settled(drawn, values[:, position:last])
            model.settle(state, count)
            credit = min(credit + count - price, _MOST_CREDIT)
        else:
            params, state = model.step(state, previous)
            params, count, last = params[:, None], 1, position + 1
            drawn = forecast.draw(params, position)
            credit = min(credit + _EARNED, _MOST_CREDIT)
        values[:, position:last] = drawn
        if total is not None:
            family = model.conditional_over(position, position + count)
            total = total + family.log_prob(params[:, :count], drawn[:, :count]).sum(1)
        position += count
        previous = values[:, position - 1]
    return model.from_sequence(values), total


class _Forecast:
    """Draws values with their noise, and guesses those of which nothing is known.

    A guess is what its noise makes of the parameters of the variable one period before: of the pixel above.
    """

    def __init__(self, model: LooksAhead, noise: Tensor, temperature: float) -> None:
        self.model, self.noise, self.temperature = model, noise, temperature
        self.period, self.known = model.period_of_guesses, 0
        self.params: Tensor | None = None  # of the last period, `(batch, period, num_params)`

    def draw(self, params: Tensor, first: int) -> Tensor:
        """The values of the variables from `first` on, `(batch, k)`, for their parameters `(batch, k, P)`."""
        last = first + params.shape[1]
        if self.params is None:
            self.params = params.new_zeros(len(params), self.period, params.shape[2])
        self.params[:, self._places(first, last)] = params
        self.known = max(self.known, last)
        return self._drawn(params, first, last)

    def extend(self, values: Tensor, last: int) -> None:
        """Guess the values before `last` that are not known, in place."""
        first = max(self.known, self.period)  # in the first period they are 0
        if first < last:
            assert self.params is not None
            above = self.params[:, self._places(first, last)]
            values[:, first:last] = self._drawn(above, first, last)
        self.known = max(self.known, last)

    def _places(self, first: int, last: int) -> slice:
        """Where the parameters of these variables, all of one period, lie in `params`."""
        start = first % self.period
        return slice(start, start + last - first)

    def _drawn(self, params: Tensor, first: int, last: int) -> Tensor:
        family = self.model.conditional_over(first, last)
        return family.sample(params, self.noise[:, first:last], self.temperature)


def _settled(drawn: Tensor, guesses: Tensor) -> int:
    """How many of the drawn values stand: all up to the one after the first wrong guess, there included."""
    right = (drawn == guesses).all(0)
    right[-1] = False  # of the last one nothing follows
    return int(right.int().argmin()) + 1
