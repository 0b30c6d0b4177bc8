"""Anomaly detection by exact likelihood: thresholds, conformal p-values, reasons, reports, streams.

Everything here works on arrays of scores, log-likelihoods in nats where low is odd, and knows no
model. docs/anomaly-scores.md says what is promised and what is not.
"""

from __future__ import annotations

from chainrule.detection.columns import ColumnCalibration, ColumnSurprise
from chainrule.detection.conformal import (
    benjamini_hochberg,
    conformal_p_values,
    false_alarm_interval,
    rows_needed,
    smallest_level,
)
from chainrule.detection.detector import Detector, Verdict
from chainrule.detection.reports import (
    AlarmReport,
    DetectionReport,
    Figure,
    alarm_report,
    auroc,
    average_precision,
    detection_report,
    false_alarms_at_recall,
    reports_table,
)
from chainrule.detection.streaming import StreamSummary, judge_stream
from chainrule.detection.thresholds import (
    RULES,
    Rule,
    conformal_threshold,
    mean_sd_threshold,
    percentile_threshold,
)

__all__ = [
    "RULES",
    "AlarmReport",
    "ColumnCalibration",
    "ColumnSurprise",
    "DetectionReport",
    "Detector",
    "Figure",
    "Rule",
    "StreamSummary",
    "Verdict",
    "alarm_report",
    "auroc",
    "average_precision",
    "benjamini_hochberg",
    "conformal_p_values",
    "conformal_threshold",
    "detection_report",
    "false_alarm_interval",
    "false_alarms_at_recall",
    "judge_stream",
    "mean_sd_threshold",
    "percentile_threshold",
    "reports_table",
    "rows_needed",
    "smallest_level",
]
