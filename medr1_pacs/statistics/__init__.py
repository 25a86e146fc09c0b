"""review: what answers and readers come to, and how far that can be trusted; pure.

right answers by patient -> accuracy.py -> AccuracyEstimate
cases x readers          -> agreement.py, roc.py, calls.py -> Statistic
Statistic, patients      -> resampling.py -> BootstrapEstimate

accuracy.py     shares of right answers, with intervals by patient
proportions.py  the interval of a proportion
paired.py       two readers, or two ways of reading, over the same cases
calls.py        sensitivity, specificity and accuracy of calls
roc.py          the ROC curve, and the area under it
agreement.py    kappas, alpha, percent agreement
ratings.py      what several raters said of units
resampling.py   the bootstrap of cases or patients
"""

from medr1_pacs.statistics.accuracy import (
    FEW_PATIENTS,
    AccuracyEstimate,
    IntervalMethod,
    cluster_bootstrap_interval,
    effective_answers,
    estimate_accuracy,
)
from medr1_pacs.statistics.proportions import wilson_interval

__all__ = [
    "FEW_PATIENTS",
    "AccuracyEstimate",
    "IntervalMethod",
    "cluster_bootstrap_interval",
    "effective_answers",
    "estimate_accuracy",
    "wilson_interval",
]
