"""How good, and how sure, a classifier of handwritten digits is: ``python examples/digits.py``.

Fits scikit-learn's logistic regression to half of its 1797 scanned digits. Everything else comes from its decision
scores on the other half, which are logits: probabilities are never formed. Exits with status 1 if a claim fails.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import kullback as kb


def claim(holds: bool | np.bool_, what: str) -> None:
    print(f"{'holds' if holds else 'FAILS'}: {what}")
    if not holds:
        sys.exit(1)


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    seen, unseen, digits_seen, labels = train_test_split(
        images / 16, digits, test_size=0.5, random_state=0, stratify=digits
    )
    model = LogisticRegression(max_iter=1000).fit(seen, digits_seen)
    logits = model.decision_function(unseen)

    loss = kb.categorical_cross_entropy_from_logits(labels, logits)
    mean_loss = kb.categorical_cross_entropy_from_logits(labels, logits, reduction="mean")
    entropy = kb.entropy_from_logits(logits, base=2)
    wrong = logits.argmax(axis=-1) != labels

    print(f"{'digit':5} {'images':>7} {'errors':>7} {'loss, nats':>11} {'entropy, bits':>14}")
    for digit in range(10):
        of_digit = labels == digit
        counts = f"{of_digit.sum():7} {wrong[of_digit].sum():7}"
        print(f"{digit:5} {counts} {loss[of_digit].mean():11.4f} {entropy[of_digit].mean():14.4f}")
    print(f"{'all':5} {len(labels):7} {wrong.sum():7} {mean_loss:11.4f} {entropy.mean():14.4f}\n")

    least_sure = np.argsort(-entropy, kind="stable")[: len(labels) // 10]
    caught = wrong[least_sure].sum()
    claim(caught > wrong.sum() / 2, f"the least sure tenth of the images holds most errors, {caught} of {wrong.sum()}")

    probabilities = model.predict_proba(unseen)
    # scikit-learn clips to [eps, 1 - eps], which no probability of a right digit needs here; kullback never clips.
    of_labels = probabilities[np.arange(len(labels)), labels]
    eps = np.finfo(of_labels.dtype).eps
    claim(np.all((of_labels > eps) & (of_labels < 1 - eps)), "scikit-learn clips nothing")
    difference = abs(mean_loss - log_loss(labels, probabilities))
    claim(difference <= 1e-12, f"the mean loss is sklearn.metrics.log_loss to 1e-12, {difference:.1e}")


if __name__ == "__main__":
    main()
