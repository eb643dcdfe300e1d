"""Softmax regression trained with kullback's gradient, on handwritten digits: ``python examples/train_digits.py``.

A loss and its gradient from one call is what ``scipy.optimize.minimize`` asks for. The mean loss of half of
scikit-learn's 1797 scanned digits plus an L2 penalty is what its ``LogisticRegression`` minimises as well, with a loss
of its own; it has one minimum, which both must find. Exits with status 1 if a claim fails.
"""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
from scipy.optimize import approx_fprime, minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import kullback as kb

PENALTY = 1.0  # of the sum of losses: 1 / C of LogisticRegression


def claim(holds: bool | np.bool_, what: str) -> None:
    print(f"{'holds' if holds else 'FAILS'}: {what}")
    if not holds:
        sys.exit(1)


def objective(parameters: np.ndarray, images: np.ndarray, digits: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean loss plus penalty, and the gradient: 64 rows of weights, which the penalty counts, and one of intercepts."""
    weights, intercepts = np.split(parameters.reshape(65, 10), [64])
    logits = images @ weights + intercepts
    # The gradient may take the place of the logits: nothing else needs them.
    loss, by_logits = kb.value_and_grad.categorical_cross_entropy_from_logits(
        digits, logits, reduction="mean", out=(None, logits)
    )
    penalty = PENALTY / len(digits) * weights
    gradient = np.vstack([images.T @ by_logits + penalty, by_logits.sum(axis=0)])
    return loss + np.vdot(penalty, weights) / 2, gradient.ravel()


def main() -> None:
    images, digits = load_digits(return_X_y=True)
    seen, unseen, digits_seen, labels = train_test_split(
        images / 16, digits, test_size=0.5, random_state=0, stratify=digits
    )
    data = seen, digits_seen

    with threadpool_limits(1, user_api="blas"):  # threads slow products this small down, many times over
        start = perf_counter()
        fit = minimize(objective, np.zeros(650), data, method="L-BFGS-B", jac=True, options={"gtol": 1e-8, "ftol": 0})
        seconds = perf_counter() - start
        model = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=10000).fit(*data)
    found = {"kullback": fit.x, "scikit-learn": np.vstack([model.coef_.T, model.intercept_]).ravel()}

    print(f"{'trained with':12} {'objective':>18} {'largest gradient':>17} {'test loss':>10} {'test accuracy':>14}")
    accuracy = {}
    for name, parameters in found.items():
        value, gradient = objective(parameters, *data)
        logits = unseen @ parameters[:640].reshape(64, 10) + parameters[640:]
        test_loss = kb.categorical_cross_entropy_from_logits(labels, logits, reduction="mean")
        accuracy[name] = (logits.argmax(axis=-1) == labels).mean()
        print(f"{name:12} {value:18.15f} {abs(gradient).max():17.1e} {test_loss:10.4f} {accuracy[name]:14.4f}")
    print(f"{fit.nit} iterations, {fit.nfev} values and gradients in {seconds:.2f} s\n")

    parameters = np.random.default_rng(0).normal(size=650)
    slopes = approx_fprime(parameters, lambda x: objective(x, *data)[0])
    difference = abs(objective(parameters, *data)[1] - slopes).max()
    claim(difference <= 1e-6, f"the gradient is that of finite differences to 1e-6, {difference:.1e}")

    # Their minimum in their words: no function of kullback takes part.
    penalty = PENALTY / len(seen) * np.vdot(model.coef_, model.coef_) / 2
    value = log_loss(digits_seen, model.predict_proba(seen)) + penalty
    difference = abs(fit.fun / value - 1)
    claim(difference <= 1e-6, f"the minimum is scikit-learn's to 1e-6 relative, {difference:.1e}")
    difference = abs(found["kullback"] - found["scikit-learn"]).max()
    claim(difference <= 1e-3, f"so is every weight to 1e-3, {difference:.1e}")
    claim(accuracy["kullback"] >= 0.95, f"at least 95 % of the unseen digits are told, {accuracy['kullback']:.1%}")


if __name__ == "__main__":
    main()
