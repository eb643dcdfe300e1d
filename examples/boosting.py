"""kullback's losses as objectives of XGBoost and LightGBM: ``python examples/boosting.py``.

Both ask an objective for the gradient of the loss by the scores so far, which are logits, and for the diagonal of the
Hessian: one call of ``kb.grad``. Without options it is the loss that the libraries have built in, and the same trees
must come out; label smoothing, or distributions over several classes as labels, would be an argument more. The data are
scikit-learn's: tumours of two kinds, wines of three, ten digits. Exits with status 1 if a claim fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import lightgbm
import numpy as np
import xgboost
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

import kullback as kb

TREES = 50  # per class, where there are more than two

Objective = Callable[[np.ndarray, object], tuple[np.ndarray, np.ndarray]]


def claim(holds: bool | np.bool_, what: str) -> None:
    print(f"{'holds' if holds else 'FAILS'}: {what}")
    if not holds:
        sys.exit(1)


def objective(labels: np.ndarray, classes: int, factor: float) -> Objective:
    """What both libraries call with one score per row or, of more than two classes, one per row and class."""
    loss = kb.grad.binary_cross_entropy_from_logits if classes == 2 else kb.grad.categorical_cross_entropy_from_logits

    def gradient_and_hessian(scores: np.ndarray, _: object) -> tuple[np.ndarray, np.ndarray]:
        gradient, hessian = loss(labels, scores, hessian=True)
        return gradient, factor * hessian

    return gradient_and_hessian


def xgboost_scores(seen: np.ndarray, labels: np.ndarray, unseen: np.ndarray, classes: int, ours: bool) -> np.ndarray:
    settings = {"max_depth": 3, "nthread": 1, "objective": "binary:logistic", "base_score": 0.5}
    if classes > 2:
        settings |= {"objective": "multi:softprob", "num_class": classes}
    # Of several classes, XGBoost doubles the Hessian. `obj` overrides the gradients of "objective", nothing else.
    obj = objective(labels, classes, factor=1 if classes == 2 else 2) if ours else None
    model = xgboost.train(settings, xgboost.DMatrix(seen, labels), TREES, obj=obj)
    return model.predict(xgboost.DMatrix(unseen), output_margin=True)


def lightgbm_scores(seen: np.ndarray, labels: np.ndarray, unseen: np.ndarray, classes: int, ours: bool) -> np.ndarray:
    # Without boost_from_average all scores start at 0, as those of an objective of one's own do.
    settings = {"max_depth": 3, "num_threads": 1, "deterministic": True, "verbose": -1, "boost_from_average": False}
    settings |= {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    if ours:  # Of K > 2 classes, LightGBM multiplies the Hessian by K / (K - 1).
        settings["objective"] = objective(labels, classes, factor=1 if classes == 2 else classes / (classes - 1))
    model = lightgbm.train(settings, lightgbm.Dataset(seen, labels), TREES)
    return model.predict(unseen, raw_score=True)


def main() -> None:
    largest = 0.0
    print(f"{'data':8} {'library':9} {'trees':>5} {'errors':>9} {'test loss, theirs':>18} {'ours':>11} {'apart':>8}")
    for name, load in [("tumours", load_breast_cancer), ("wines", load_wine), ("digits", load_digits)]:
        rows, kinds = load(return_X_y=True)
        seen, unseen, kinds_seen, labels = train_test_split(rows, kinds, test_size=0.5, random_state=0, stratify=kinds)
        classes = len(np.unique(kinds))
        for library, scores in [("XGBoost", xgboost_scores), ("LightGBM", lightgbm_scores)]:
            theirs, ours = (scores(seen, kinds_seen, unseen, classes, own) for own in (False, True))
            if classes == 2:
                loss, predictions, predicted = kb.binary_cross_entropy_from_logits, kb.sigmoid, ours > 0
            else:
                loss, predictions, predicted = kb.categorical_cross_entropy_from_logits, kb.softmax, ours.argmax(axis=1)
            losses = [loss(labels, z.astype(float), reduction="mean") for z in (theirs, ours)]
            apart = abs(predictions(ours) - predictions(theirs)).max()
            largest = max(largest, apart)
            errors = f"{(predicted != labels).sum():3} of {len(labels)}"
            trees = TREES * (classes if classes > 2 else 1)
            print(f"{name:8} {library:9} {trees:5} {errors:>9} {losses[0]:18.8f} {losses[1]:11.8f} {apart:8.1e}")
    print()
    claim(largest <= 1e-5, f"predictions are those of the built-in objectives to 1e-5, {largest:.1e}")


if __name__ == "__main__":
    main()
