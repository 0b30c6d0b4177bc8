"""Models that people might write: two honest ones, and one for each way of getting it wrong."""

from __future__ import annotations

import torch

from chainrule.conditionals import Bernoulli
from chainrule.model import AutoregressiveModel
from chainrule.models import MADE, NADE, Ensemble


class ForwardOnly(AutoregressiveModel):
    """The least that a person can write: a constructor and `forward`."""

    def __init__(self, event_shape, ordering="raster"):
        super().__init__(event_shape, ordering=ordering)
        self.weight = torch.nn.Parameter(torch.randn(self.num_variables, self.num_variables))
        self.bias = torch.nn.Parameter(torch.randn(self.num_variables))

    def logits(self, sequence):
        return sequence @ self.weight.tril(-1).T + self.bias

    def forward(self, x, context=None):
        return self.from_sequence(self.logits(self.to_sequence(x))[..., None])


class OwnSteps(ForwardOnly):
    """The same with its own state: the values so far."""

    def init_state(self, batch_size, context=None):
        return torch.zeros(batch_size, 0, dtype=self.bias.dtype)

    def step(self, state, previous_value):
        if previous_value is not None:
            state = torch.cat([state, previous_value[:, None]], dim=1)
        t = state.shape[1]
        return (state @ self.weight[t, :t] + self.bias[t])[:, None], state


class SeesItself(MADE):
    """The classic mistake: the output mask is open where the numbers are equal."""

    def _use_mask(self, mask):
        super()._use_mask(mask)
        self._output_mask = self._degrees0 <= self.ordering.positions()[:, None] + 1


class ReadsTheFuture(ForwardOnly):
    """Leaks without a derivative: autograd cannot see it."""

    def forward(self, x, context=None):
        last = (self.to_sequence(x)[:, -1] > 0.5).to(x.dtype).detach()
        return super().forward(x) + 0.1 * last.view(-1, *[1] * (x.ndim - 1), 1)


class ForgetsTheValue(NADE):
    def step(self, state, previous_value):
        forgotten = None if previous_value is None else torch.zeros_like(previous_value)
        return super().step(state, forgotten)


class ForgetsTheLastValue(NADE):
    """Wrong at the last variable only."""

    def step(self, state, previous_value):
        if state.position == self.num_variables - 1:
            previous_value = None
        return super().step(state, previous_value)


class AveragesLogits(Ensemble):
    """What several implementations of MADE do with their masks; the likelihood of no model."""

    def _log_prob(self, x, context):
        logits = torch.stack([member(x, context) for member in self.members]).mean(0)
        return self.conditional.log_prob(logits, x).flatten(1).sum(1)


class AveragesLogProbs(Ensemble):
    def _log_prob(self, x, context):
        return self._log_prob_of_members(x, context).mean(1)


class FirstMemberOnly(Ensemble):
    """A distribution, but not the mixture."""

    def _log_prob(self, x, context):
        return self.members[0]._log_prob(x, context)


class SamplesFirstMember(Ensemble):
    def _sample(self, noise, context, temperature, with_log_prob, method):
        return self.members[0]._sample(noise, context, temperature, False, method)


class Unnormalised(Bernoulli):
    def log_prob(self, params, value):
        return 1.1 * super().log_prob(params, value)


class Inverted(Bernoulli):
    """Every sampler agrees on it, and all of them draw 1 with probability 1 - p."""

    def sample(self, params, uniform, temperature=1.0):
        return 1 - super().sample(params, uniform, temperature)


class SlightlyWarm(Bernoulli):
    def sample(self, params, uniform, temperature=1.0):
        return super().sample(params, uniform, 1.5 * temperature)


class InvertedFastPath(ForwardOnly):
    def _sample_incremental(self, noise, context, temperature, with_log_prob):
        x, log_prob = super()._sample_incremental(noise, context, temperature, with_log_prob)
        return 1 - x, log_prob


class OwnNoise(ForwardOnly):
    """Draws again inside, from the global generator: no seed can repeat it."""

    def _sample(self, noise, context, temperature, with_log_prob, method):
        return super()._sample(torch.rand_like(noise), context, temperature, with_log_prob, method)


class NoiseByBatch(ForwardOnly):
    """A sample depends on how many are drawn with it."""

    def _sample(self, noise, context, temperature, with_log_prob, method):
        return super()._sample(noise.flip(0), context, temperature, with_log_prob, method)


class LogProbAtTemperature(ForwardOnly):
    def _sample_incremental(self, noise, context, temperature, with_log_prob):
        x, _ = super()._sample_incremental(noise, context, temperature, False)
        return x, self.conditional.log_prob(self(x) / temperature, x).flatten(1).sum(1)


class BatchStatistics(ForwardOnly):
    def logits(self, sequence):
        return super().logits(sequence - sequence.mean(0))


class Stochastic(ForwardOnly):
    """Dropout that evaluation does not switch off."""

    def logits(self, sequence):
        return super().logits(torch.nn.functional.dropout(sequence, 0.3, training=True))


class Saturated(ForwardOnly):
    def logits(self, sequence):
        return torch.where(sequence.sum(1, keepdim=True) == 0, torch.inf, super().logits(sequence))


class IdleParameter(ForwardOnly):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.idle = torch.nn.Parameter(torch.ones(3))


class _HalfTheGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


class WrongBackward(ForwardOnly):
    def logits(self, sequence):
        return sequence @ _HalfTheGradient.apply(self.weight).tril(-1).T + self.bias


class ForgetsASetting(ForwardOnly):
    """`settings` cannot tell that the ordering was changed after construction."""

    def __init__(self, event_shape, scale=1.0):
        super().__init__(event_shape)
        self.scale = 1.0
        self.used_scale = scale

    def logits(self, sequence):
        return super().logits(sequence) * self.used_scale


class AttributesMissing(ForwardOnly):
    def __init__(self, event_shape, width=3):
        super().__init__(event_shape)


class NoChecks(ForwardOnly):
    def log_prob(self, x, context=None):
        return self._log_prob(x.to(self.bias.dtype), context)


class FlatParams(ForwardOnly):
    def forward(self, x, context=None):
        return super().forward(x).flatten(1)


class SumsHalf(ForwardOnly):
    def _log_prob(self, x, context):
        return self._log_prob_per_variable(x, context).flatten(1)[:, ::2].sum(1)


def two_orderings():
    network = MADE((4,), hidden=(9,), num_masks=4, random_orderings=True)
    return [network.view(mask=k) for k in range(4)]


def with_conditional(conditional):
    model = ForwardOnly((4,))
    model.conditional = conditional
    return model


#: How to build it, the property that must fail, and what the evidence must say.
BROKEN = [
    (lambda: SeesItself((5,), hidden=(12,)), "causality", "may depend on earlier"),
    (lambda: ReadsTheFuture((2, 2)), "causality", "when variable 3 (position 3) changed"),
    (lambda: ForgetsTheValue((5,), hidden=4), "step equals forward", "variable 1 (position 1)"),
    (lambda: ForgetsTheLastValue((5,), hidden=4), "step equals forward", "variable 4 (position 4)"),
    (lambda: AveragesLogits(two_orderings()), "normalisation", "all 16 x add up to"),
    (lambda: AveragesLogProbs(two_orderings()), "normalisation", "all 16 x add up to 0."),
    (lambda: FirstMemberOnly(two_orderings()), "ensemble", "logsumexp"),
    (lambda: SamplesFirstMember(two_orderings()), "sample frequencies", "variables 0..3"),
    (lambda: with_conditional(Unnormalised()), "normalisation", "over its 2 values"),
    (lambda: with_conditional(Inverted()), "sample frequencies", "exp(log_prob)"),
    (lambda: with_conditional(SlightlyWarm()), "sample frequencies", "exp(log_prob)"),
    (lambda: InvertedFastPath((4,)), "samplers agree", "naive and incremental"),
    (lambda: OwnNoise((4,)), "samplers agree", "sample"),
    (lambda: NoiseByBatch((4,)), "samplers agree", "when 32 are drawn"),
    (lambda: LogProbAtTemperature((4,)), "samplers agree", "temperature 0.7"),
    (lambda: BatchStatistics((4,)), "batch invariance", "depend on the example alone"),
    (lambda: Stochastic((4,)), "batch invariance", "asked a second time"),
    (lambda: Saturated((4,)), "finite", "valid example [0, 0, 0, 0]"),
    (lambda: IdleParameter((4,)), "gradients", "parameter idle"),
    (lambda: WrongBackward((4,)), "gradients", "central difference"),
    (lambda: ForgetsASetting((4,), scale=2.0), "save and load", "was not saved"),
    (lambda: AttributesMissing((4,)), "save and load", "width"),
    (lambda: NoChecks((4,)), "bad input", "one variable too many"),
    (lambda: FlatParams((4,)), "shapes", "forward returned shape (3, 4); expected (3, 4, 1)"),
    (lambda: SumsHalf((4,)), "chain rule", "adds up to"),
]
