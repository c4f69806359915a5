"""Two checklists for journals, item by item in our own words, each with the name of the answer that a run can give.

An item whose answer is "" is the author's: a run cannot know it.

References
----------
Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update, Radiology: Artificial
    Intelligence 6(4), 2024: 44 items.
Collins et al., TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use regression or
    machine learning methods, BMJ 385, 2024: 27 items, 52 with their parts.
"""

from __future__ import annotations

CLAIM = "CLAIM 2024"
TRIPOD = "TRIPOD+AI"

CLAIM_ITEMS = (
    ("1", "title or abstract names the AI method", ""),
    ("2", "structured summary of design, methods, results, conclusions", ""),
    ("3", "background, intended use and role of the method", ""),
    ("4", "aims, objectives and hypotheses", ""),
    ("5", "data collected before or after the study was planned", ""),
    ("6", "goal of the study", "goal"),
    ("7", "where the data come from", ""),
    ("8", "who was included and excluded", ""),
    ("9", "preprocessing", "preprocessing"),
    ("10", "whether and how a part of the data was chosen", ""),
    ("11", "how data were de-identified", ""),
    ("12", "missing data", ""),
    ("13", "how images were acquired", ""),
    ("14", "what the reference standard is", ""),
    ("15", "why this reference standard", ""),
    ("16", "who annotated", ""),
    ("17", "how the test set was annotated", ""),
    ("18", "agreement of annotators", ""),
    ("19", "how data were assigned to sets", "split"),
    ("20", "level at which the sets are disjoint", "disjoint"),
    ("21", "intended size of the test set", ""),
    ("22", "the model in detail", "model"),
    ("23", "software with versions", "software"),
    ("24", "initial weights", "start"),
    ("25", "training: augmentation, hyperparameters, number of models", "training"),
    ("26", "how the final model was chosen", "selection"),
    ("27", "ensembles", "ensemble"),
    ("28", "metrics", "metrics"),
    ("29", "measures of significance and uncertainty", "intervals"),
    ("30", "robustness or sensitivity analysis", "robustness"),
    ("31", "explanations and how they were validated", "explanations"),
    ("32", "evaluation on internal data", "internal"),
    ("33", "testing on external data", "external"),
    ("34", "registration of a clinical trial", ""),
    ("35", "numbers included and excluded", "included"),
    ("36", "demographic and clinical characteristics by set", ""),
    ("37", "performance with uncertainty", "performance"),
    ("38", "estimates of diagnostic performance and their precision", "diagnostic"),
    ("39", "analysis of failures", "failures"),
    ("40", "limitations", ""),
    ("41", "implications for practice, intended use", ""),
    ("42", "where the full protocol or further detail is", "protocol"),
    ("43", "availability of software, model and data", ""),
    ("44", "funding and the role of funders", ""),
)

TRIPOD_ITEMS = (
    ("1", "title: development or evaluation, population, outcome", ""),
    ("2", "abstract by its own checklist", ""),
    ("3a", "healthcare context and existing models", ""),
    ("3b", "intended population, use and users", ""),
    ("3c", "known health inequalities", ""),
    ("4", "objectives: development, evaluation or both", "goal"),
    ("5a", "sources of data, and whom they represent", ""),
    ("5b", "dates of the data", ""),
    ("6a", "setting, number and place of centres", ""),
    ("6b", "eligibility", ""),
    ("6c", "treatments", ""),
    ("7", "preparation of the data", "preprocessing"),
    ("8a", "the outcome and how it was assessed", ""),
    ("8b", "who assessed a subjective outcome", ""),
    ("8c", "blinding of its assessment", ""),
    ("9a", "choice of predictors", "predictors"),
    ("9b", "definition of the predictors and their measurement", ""),
    ("9c", "who assessed subjective predictors", ""),
    ("10", "sample size and why it suffices", "power"),
    ("11", "missing data", ""),
    ("12a", "how data were used: development and evaluation", "split"),
    ("12b", "how predictors were handled", "preprocessing"),
    ("12c", "model type, building steps, tuning, internal validation", "training"),
    ("12d", "differences between clusters, such as hospitals", ""),
    ("12e", "measures and plots of performance", "metrics"),
    ("12f", "updating of the model", "updating"),
    ("12g", "how predictions were computed", "predictions"),
    ("13", "class imbalance", "imbalance"),
    ("14", "fairness", ""),
    ("15", "output of the model and thresholds", "output"),
    ("16", "differences of development and evaluation data", "same_source"),
    ("17", "ethical approval and consent", ""),
    ("18a", "funding", ""),
    ("18b", "conflicts of interest", ""),
    ("18c", "protocol", ""),
    ("18d", "registration", ""),
    ("18e", "sharing of data", ""),
    ("18f", "sharing of code", ""),
    ("19", "involvement of patients and the public", ""),
    ("20a", "flow of participants, number with the outcome", "included"),
    ("20b", "characteristics of participants", ""),
    ("20c", "comparison of evaluation and development data", ""),
    ("21", "participants and outcomes of each analysis", "included"),
    ("22", "the whole model, so that it can be applied", "protocol"),
    ("23a", "performance with intervals", "performance"),
    ("23b", "differences of performance between clusters", ""),
    ("24", "results of updating", "updating"),
    ("25", "interpretation, fairness included", ""),
    ("26", "limitations", ""),
    ("27a", "poor or missing input when used", ""),
    ("27b", "what users must do and know", ""),
    ("27c", "next steps", ""),
)

CHECKLISTS = {CLAIM: CLAIM_ITEMS, TRIPOD: TRIPOD_ITEMS}
