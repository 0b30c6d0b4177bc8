"""Topic 13: thresholds on log p, and the decisions that follow from them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import torch

from chainrule.detection import Detector, Rule, alarm_report, mean_sd_threshold
from chainrule.examples.registry import answers
from chainrule.security import Passed, Typicality

__all__: list[str] = []


@answers("13.1", "13.3")
def usual_log_p(values: list[float]) -> float:
    """What a typicality test takes for usual: the mean log-likelihood of clean images."""
    log_prob = np.array(values)
    blank = torch.zeros(len(values), 1, 1, 1)
    return Typicality().fit(Passed(blank, 2, log_prob, blank)).learned()["usual"].item()


@answers("13.2")
def standard_deviation(values: list[float]) -> float:
    """How far a threshold falls for each standard deviation that it is asked to."""
    return mean_sd_threshold(values, 1) - mean_sd_threshold(values, 2)


@answers("13.4")
def threshold(mu: float, sd: float, k: float) -> float:
    """Of three values that have this mean and sample standard deviation."""
    return mean_sd_threshold([mu - sd, mu, mu + sd], k)


@answers("13.5")
def threshold_from_data(values: list[float], k: float) -> float:
    """k standard deviations below the mean."""
    return mean_sd_threshold(values, k)


@answers("13.6")
def decisions(log_p: list[float], tau: float) -> list[str]:
    """Of a detector whose clean images lie evenly above tau, which is three deviations of 1 below them."""
    detector = Detector.fit([tau + 2, tau + 3, tau + 4], rule=Rule("mean-sd", 3))
    return ["Reject" if alarm else "Accept" for alarm in detector.alarms(log_p)]


@answers("13.7")
def share_of_right_decisions(decisions: list[str], truth: list[str]) -> float:
    """From the detection rate and the false alarm rate."""
    alarms, odd = ([word == "Reject" for word in words] for words in (decisions, truth))
    report = alarm_report(alarms, odd)
    assert report.detection_rate is not None
    assert report.false_alarm_rate is not None
    right = report.detection_rate.value * sum(odd) + (1 - report.false_alarm_rate.value) * odd.count(False)
    return right / len(odd)


@answers("13.8")
def gaussian_tail(k: float) -> float:
    """The share of a normal law more than k deviations below its mean."""
    return NormalDist().cdf(-k)
