"""The page of a RESULTS folder: what was found, beside the paper and beside chance."""

from pathlib import Path

from l2ae_core.paper.index import NAMES
from l2ae_core.paper.published import TABLES
from l2ae_core.paper.result import read_results
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.tables import paper_tables
from l2ae_core.report import curves, images, numbers
from l2ae_core.report.evidence import in_order, longest
from l2ae_core.report.glance import glance
from l2ae_core.report.markup import paragraph
from l2ae_core.report.page import Section, page
from l2ae_core.tables import counted, duration

TITLE = "l2-normalized auto-encoders: the paper's experiments, made again"


def results_page(path: Path) -> str:
    """Return the page of a folder that `l2ae reproduce` filled.

    Raises ValueError when it has no result, or a file in it, which is named, is damaged.
    """
    every = in_order(read_results(path))
    results = longest(every)

    def reproduce(*names: str) -> str:
        return f"l2ae reproduce {' '.join(names)} --out {path}"

    table2 = reproduce("table2")
    if not results:
        raise ValueError(
            f"report: {path} has no result yet: neither is it a run of `l2ae fit`, nor a folder "
            f"that `{table2}` filled"
        )
    present = {table.name for table in paper_tables(every)}
    sections = [
        Section("glance", "At a glance", glance(every), table2),
        Section("runs", "What was run", numbers.what_was_run(every)),
        Section("tables", "The paper's tables, beside ours", numbers.tables(every),
                reproduce(*TABLES)),
        Section("gains", "What the constraint adds", numbers.paired_gains(every), table2),
        Section("figure1", "Figure 1: maps of the codes", images.figure_1(path),
                reproduce("figure1")),
        Section("roc", "Anomalies: ROC curves", curves.roc_grid(results),
                reproduce("table4")),
        Section("confusion", "Which digits are confused", images.confusions(results), table2),
        Section("loss", "Training loss", curves.loss_curves(results), table2),
        Section("norms", "Length of the codes before normalization",
                curves.latent_norms(results), table2),
        Section("restarts", "Restarts of k-means", curves.restarts(results), table2),
        Section("reconstructions", "Reconstructions, worst and best",
                images.reconstructions(results, ResultsDir(path)), table2),
        Section("environment", "Environment", numbers.environments(every)),
    ]  # fmt: skip
    if present:
        absent = [t for t in TABLES.values() if not any(n.startswith(t.name) for n in present)]
        sections += [Section(t.name, t.title, [], reproduce(t.name)) for t in absent]
    data = {r.run.data for r in results}
    names = " and ".join(NAMES[d] for d in NAMES if d in data)
    spent = duration(sum(r.seconds.training for r in every))
    lead = [
        paragraph(
            "An auto-encoder whose code is divided by its length while it is trained, then "
            "k-means on the codes. Every layer, gradient and kernel behind these numbers is "
            "written by hand.",
            class_="lead",
        ),
        paragraph(f"{counted(len(every), 'run')} on {names}, {spent} of training. Every score "
                  "stands beside that of chance."),
    ]  # fmt: skip
    return page(TITLE, lead, sections)
