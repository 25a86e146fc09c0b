"""The figures of a reading protocol from its files alone, by other people's programs.

Nothing of ours is imported: what a statistician with the long table and the iMRMC file would do.
"""

from __future__ import annotations

import io
from itertools import combinations

import pandas as pd
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

Key = tuple[str, str, str, str]
"""(figure, condition, who, against)."""


def figures_of_long_table(text: str) -> dict[Key, float]:
    """Return accuracies, agreements and McNemar's p-values of a table of one question."""
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    table = table[table["is_evaluated"]]
    truth = table[table["source"] == "truth"].set_index("case")["choice"].dropna()
    model = table[table["source"] == "model"].set_index("case")["choice"]
    readings = table[table["source"] == "reader"]
    found: dict[Key, float] = {}
    known = model[model.index.isin(truth.index)]
    found["accuracy", "", "model", "truth"] = (known == truth.loc[known.index]).mean()
    wide = {
        phase: own.pivot(index="case", columns="reader", values="choice")
        for phase, own in readings.groupby("phase")
    }
    for phase, choices in wide.items():
        for reader in choices:
            read = readings[(readings["phase"] == phase) & (readings["reader"] == reader)]
            read = read[read["case"].isin(truth.index)].set_index("case")["choice"]
            right = read == truth.loc[read.index]
            found["accuracy", phase, reader, "truth"] = right.mean()
            low, high = proportion_confint(right.sum(), len(right), method="wilson")
            found["low accuracy", phase, reader, "truth"] = low
            found["high accuracy", phase, reader, "truth"] = high
            found["cannot assess", phase, reader, "truth"] = choices[reader].isna().mean()
            both = choices[reader].dropna().to_frame("reader").join(model.rename("model")).dropna()
            kappa = cohen_kappa_score(both["reader"], both["model"])
            found["Cohen's kappa", phase, reader, "model"] = kappa
        for first, second in combinations(choices, 2):
            both = choices[[first, second]].dropna()
            found["Cohen's kappa", phase, first, second] = cohen_kappa_score(*both.T.to_numpy())
            same = (both[first] == both[second]).mean()
            found["percent agreement", phase, first, second] = same
        whole = choices.dropna()
        if len(whole) == len(choices) and len(whole.columns) > 1:
            counts, _ = aggregate_raters(whole.to_numpy())
            kappa = fleiss_kappa(counts)
            found["Fleiss' kappa", phase, "all readers", "each other"] = kappa
    for reader in wide["assisted"] if {"blind", "assisted"} <= set(wide) else ():
        pair = pd.DataFrame({phase: wide[phase][reader] for phase in ("assisted", "blind")})
        pair = pair[pair.index.isin(truth.index)]
        right = pair.eq(truth.loc[pair.index], axis=0)
        counts = pd.crosstab(right["assisted"], right["blind"]).reindex(
            index=[False, True], columns=[False, True], fill_value=0
        )
        p_value = mcnemar(counts.to_numpy(), exact=True).pvalue
        found["McNemar's p-value", "blind to assisted", reader, "truth"] = p_value
        change = right["assisted"].mean() - right["blind"].mean()
        found["difference of accuracies", "blind to assisted", reader, "truth"] = change
    return found


def areas_of_imrmc(text: str) -> dict[Key, float]:
    """Return the areas under the curves of an iMRMC file: of each reader, and their mean."""
    head, data = text.split("BEGIN DATA:\n")
    said = dict(line.split(": ") for line in head.splitlines()[1:])
    rows = pd.read_csv(io.StringIO(data), names=["reader", "case", "modality", "score"], dtype=str)
    rows["score"] = rows["score"].astype(float)
    truths = rows[rows["reader"] == "-1"].set_index("case")["score"]
    scores = rows[rows["reader"] != "-1"]
    assert int(said["N1"]) == (truths == 1).sum()
    assert int(said["N0"]) == (truths == 0).sum()
    assert int(said["NR"]) == scores["reader"].nunique()
    assert int(said["NM"]) == scores["modality"].nunique()
    found: dict[Key, float] = {}
    for (modality, reader), own in scores.groupby(["modality", "reader"]):
        area = roc_auc_score(truths.loc[own["case"]], own["score"])
        condition = "" if modality == "model" else modality
        who = reader.replace("_", " ")
        found["area under the ROC curve", condition, who, "truth"] = area
    for phase in {key[1] for key in found} - {""}:
        own = [area for key, area in found.items() if key[1] == phase]
        found["area under the ROC curve", phase, "all readers", "truth"] = sum(own) / len(own)
    return found
