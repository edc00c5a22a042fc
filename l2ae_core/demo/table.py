"""The result of the demo as text."""

from typing import Any

from l2ae_core.tables import aligned, counted


def format_table(result: dict[str, Any]) -> str:
    """Return the printed table of what `run_demo` returned: every score beside its chance level."""
    clustering, anomaly, settings = result["clustering"], result["anomaly"], result["settings"]
    train, test = anomaly["train"], anomaly["test"]
    rows = {
        "auto-encoder with l2 constraint, k-means": clustering["l2"],
        "auto-encoder without it, k-means": clustering["none"],
        "pixels, k-means": result["pixels"],
        "chance": clustering["chance"],
    }
    scores = {
        "Eq. 5, with l2 constraint": anomaly["l2"],
        "Eq. 5, without it": anomaly["none"],
        "reconstruction error, with l2 constraint": anomaly["reconstruction"],
        "chance": anomaly["chance"],
    }
    lines = [
        f"Clustering of {settings['images']:,} {settings['data']} into 10 groups "
        f"({counted(settings['epochs'], 'epoch')}, seed {settings['seed']})",
        *_table(rows, ("acc", "nmi", "ari")),
        "",
        f"Anomaly detection: digit {anomaly['digit']}, of which {train['anomalies']} among "
        f"{train['images']:,} training images ({counted(settings['anomaly_epochs'], 'epoch')})",
        *_table(scores, ("auc",)),
        f"  (held-out test: {test['anomalies']} anomalies among {test['images']} images, "
        f"{anomaly['prevalence']:.1%}; one digit, one seed:",
        "   with other digits the order of the scores can turn around)",
        "",
        f"{result['seconds']:.0f} seconds",
        *_files(result),
        "The same on MNIST:",
        "  l2ae fit --data mnist --epochs 50 --out runs/mnist",
        "  l2ae cluster runs/mnist --data mnist --out clusters.csv",
    ]
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, float]], names: tuple[str, ...]) -> list[str]:
    """One line a row: its name and its scores, indented."""
    header = ("", *(name.upper() for name in names))
    cells = [(label, *(_number(scores[name]) for name in names)) for label, scores in rows.items()]
    return [f"  {line}" for line in aligned(header, cells, right=range(1, 4)).splitlines()]


def _number(score: float) -> str:
    return f"{score:.3f}" if round(score, 3) else "0.000"  # never "-0.000"


def _files(result: dict[str, Any]) -> list[str]:
    if result["out"] is None:
        return ["For the figures and metrics.json: l2ae demo --out DIR"]
    return [f"Written to {result['out']}: metrics.json and", f"  {', '.join(result['figures'])}"]
