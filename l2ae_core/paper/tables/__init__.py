"""The paper's numbers beside ours: every table as text, from result files alone."""

from collections.abc import Iterable, Sequence

from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.published import TABLES
from l2ae_core.paper.result import Result
from l2ae_core.paper.tables.clustering import clustering, clustering_pairs
from l2ae_core.paper.tables.detection import MEASURES, detection, detection_pairs
from l2ae_core.paper.tables.table import Table, percent

__all__ = ["Table", "paper_tables", "percent"]


def paper_tables(
    results: Sequence[Result], names: Iterable[str] = tuple(TABLES), data: Sequence[str] = ()
) -> list[Table]:
    """Return the named tables for which there is a result, and what the seeds say together.

    Data sets are those of the paper, others on which a network was trained, and `data`.
    """
    index = ResultIndex(results, data)
    made = []
    for name in names:
        table = TABLES[name]
        if table.task == "clustering":
            made += [clustering(table, index), *clustering_pairs(table, index)]
        else:
            for d in index.data_of(table):
                for measure in MEASURES:
                    made += detection(table, index, d, measure)
                made.append(detection_pairs(table, index, d))
    return [t for t in made if t.rows]
