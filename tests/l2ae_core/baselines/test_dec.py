"""The settings of DEC, IDEC and DCEC."""

import pytest

from l2ae_core.baselines.dec import DecSettings


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DecSettings("idec2"), "method is 'idec2' but expected one of"),
        (lambda: DecSettings("dec", optimizer="rms"), "optimizer is 'rms' but expected one of"),
        (lambda: DecSettings("dec", update_interval=0), "update_interval is 0 but expected"),
        (lambda: DecSettings("dec", batch_size=2.5), "batch_size is 2.5 but expected"),
        (lambda: DecSettings("dec", gamma=float("nan")), "gamma is nan but expected"),
        (lambda: DecSettings("dec", tol=1.0), "tol is 1.0 but expected"),
        (lambda: DecSettings("dec", learning_rate=-1.0), "learning_rate is -1.0 but expected"),
        (lambda: DecSettings.reference("dec", "cifar"), "none of 'dec' on 'cifar'"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_reference_settings():
    """What the authors' code does, as far as it differs from method to method."""
    dec, idec = DecSettings.reference("dec"), DecSettings.reference("idec", "usps")
    assert (dec.optimizer, dec.learning_rate, dec.momentum) == ("sgd", 0.01, 0.9)
    assert (dec.update_interval, dec.tol, dec.max_iter) == (140, 1e-3, 20_000)
    assert (idec.optimizer, idec.learning_rate, idec.momentum) == ("sgd", 0.1, 0.99)
    assert DecSettings.reference("dec", "usps").update_interval == idec.update_interval == 30
    for data in ("mnist", "usps"):
        dcec = DecSettings.reference("dcec", data)
        assert (dcec.update_interval, dcec.gamma, dcec.optimizer) == (140, 0.1, "adam")
        assert (dcec.learning_rate, dcec.batch_size, dcec.n_init) == (1e-3, 256, 20)
