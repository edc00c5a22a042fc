"""Densities and divergences against scipy.stats, quadrature and literal sums."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from l2ae_core.baselines import gaussian
from l2ae_core.baselines.likelihood import Bernoulli, Gaussian, halves, make_likelihood, softplus
from l2ae_core.gradcheck import check_function

RNG = np.random.default_rng(0)
MEAN, LOG_VAR, OTHER_MEAN, OTHER_LOG_VAR = RNG.standard_normal((4, 5, 3))
X = RNG.standard_normal((5, 3))


def kl_by_quadrature(mean, log_var, prior_mean, prior_log_var):
    """∫ q log(q / p) of one pair of scalars."""
    q, p = norm(mean, np.exp(log_var / 2)), norm(prior_mean, np.exp(prior_log_var / 2))
    reach = 12 * q.std()
    value, error = quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), q.mean() - reach, q.mean() + reach
    )
    assert error < 1e-7
    return value


def test_log_density_is_that_of_scipy():
    expected = norm(MEAN, np.exp(LOG_VAR / 2)).logpdf(X).sum(axis=1)
    np.testing.assert_allclose(gaussian.log_density(X, MEAN, LOG_VAR), expected, rtol=1e-12)


def test_divergences_are_their_integrals():
    expected = np.vectorize(kl_by_quadrature)(MEAN, LOG_VAR, OTHER_MEAN, OTHER_LOG_VAR)
    found = gaussian.kl(MEAN, LOG_VAR, OTHER_MEAN, OTHER_LOG_VAR)
    np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-7)
    standard = np.vectorize(kl_by_quadrature)(MEAN, LOG_VAR, 0.0, 0.0).sum(axis=1)
    np.testing.assert_allclose(gaussian.standard_kl(MEAN, LOG_VAR), standard, rtol=1e-7)
    assert np.abs(gaussian.kl(MEAN, LOG_VAR, MEAN, LOG_VAR)).max() < 1e-15


def test_samples_have_the_mean_and_variance_that_they_are_given():
    noise = np.random.default_rng(1).standard_normal((40_000, 3))
    z = gaussian.sample(MEAN[:1], LOG_VAR[:1], noise)
    error = 5 * np.exp(LOG_VAR[0] / 2) / np.sqrt(len(noise))  # five standard errors
    assert np.all(np.abs(z.mean(axis=0) - MEAN[0]) < error)
    np.testing.assert_allclose(z.var(axis=0), np.exp(LOG_VAR[0]), rtol=5 * np.sqrt(2 / len(noise)))


def test_every_derivative_is_right():
    def sample_loss(v):
        return (gaussian.sample(v["mean"], v["log_var"], X) * OTHER_MEAN).sum()

    def sample_gradient(v):
        dmean, dlog_var = gaussian.sample_adjoint(OTHER_MEAN, v["log_var"], X)
        return {"mean": dmean, "log_var": dlog_var}

    def density_gradient(v):
        dmean, dlog_var = gaussian.log_density_gradients(v["x"], v["mean"], v["log_var"])
        return {"x": -dmean, "mean": dmean, "log_var": dlog_var}

    def kl_gradient(v):
        dmean, dlog_var, dprior = gaussian.kl_gradients(v["mean"], v["log_var"], v["m"], v["t"])
        return {"mean": dmean, "log_var": dlog_var, "m": -dmean, "t": dprior}

    def standard_gradient(v):
        return dict(zip(v, gaussian.standard_kl_gradients(**v), strict=True))

    q = {"mean": MEAN, "log_var": LOG_VAR}
    for f, gradient, at in [
        (sample_loss, sample_gradient, q),
        (lambda v: gaussian.log_density(**v).sum(), density_gradient, {"x": X, **q}),
        (
            lambda v: gaussian.kl(v["mean"], v["log_var"], v["m"], v["t"]).sum(),
            kl_gradient,
            q | {"m": OTHER_MEAN, "t": OTHER_LOG_VAR},
        ),
        (lambda v: gaussian.standard_kl(**v).sum(), standard_gradient, q),
    ]:
        check_function(f, gradient, at).raise_if_bad()


def test_sums_are_in_double_precision():
    many = np.ones((1, 1 << 20), np.float32)
    many[0, 0] = 1e8  # a float32 sum would lose what follows
    assert gaussian.total(many)[0] == 1e8 + (1 << 20) - 1


@pytest.mark.parametrize("likelihood", [Gaussian(-0.5), Bernoulli()])
def test_gradients_of_the_likelihoods(likelihood):
    x, output = RNG.random((4, 3)), RNG.standard_normal((4, 3 * likelihood.per_pixel))
    check_function(
        lambda a: likelihood.log_probability(x, a).sum(),
        lambda a: likelihood.gradient(x, a),
        output,
    ).raise_if_bad()


def test_the_gaussian_likelihood_is_a_joint_log_density_above_its_floor():
    x, output = RNG.random((4, 3)), 3 * RNG.standard_normal((4, 6))
    mean, a = halves(output)
    log_var = -1.0 + np.log1p(np.exp(a + 1.0))
    assert (log_var > -1.0).all()
    expected = norm(mean, np.exp(log_var / 2)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(Gaussian(-1.0).log_probability(x, output), expected, rtol=1e-12)
    np.testing.assert_array_equal(Gaussian(-1.0).mean(output), mean)


def test_the_bernoulli_likelihood_is_the_cross_entropy_even_for_huge_logits():
    x, a = RNG.random((4, 3)), RNG.standard_normal((4, 3))
    p = 1 / (1 + np.exp(-a))
    expected = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(Bernoulli().log_probability(x, a), expected, rtol=1e-12)
    np.testing.assert_allclose(Bernoulli().mean(a), p, rtol=1e-12)
    huge = np.array([[1e4, -1e4]], np.float32)
    assert Bernoulli().log_probability(np.array([[1, 0]], np.float32), huge)[0] == 0
    assert Bernoulli().log_probability(np.array([[0, 1]], np.float32), huge)[0] == -2e4
    np.testing.assert_array_equal(Bernoulli().gradient(np.array([[0, 1]]), huge), [[-1, 1]])


def test_softplus_keeps_its_digits():
    a = np.array([-800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0])
    np.testing.assert_allclose(softplus(a), np.logaddexp(0, a), rtol=1e-15)


def test_bad_likelihoods_and_pixels_are_named():
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"pixels lie in .* but expected \[0, 1\]"):
            Bernoulli().log_probability(np.array([[0.5, value]]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="floor is nan"):
        Gaussian(np.nan)
    with pytest.raises(ValueError, match="name is 'poisson' but expected 'gaussian' or"):
        make_likelihood("poisson", 0.0)
