"""One self-contained HTML page of a run, of several seeds or of results: `l2ae report`.

markup.py        elements, tables, figures; what is not markup is escaped
page.py          contents, sections, what is left out; page.css is the look
pictures.py      matplotlib figures and arrays inside the page
evidence.py      results in the order of the page
glance.py        the first part: one number for each pair of systems
numbers.py       its tables
curves.py        its curves
images.py        Figure 1, confusion matrices, reconstructions
results_page.py  the page of RESULTS
run_page.py      the page of a RUN
run_images.py    its parts that are made of images
clusters.py      its clusters, and classes against them
outliers.py      its single images: least normal, badly reconstructed, constant, dark, equal
code_map.py      its map of the codes
seeds_page.py    the page of RUNS of several seeds
"""

from l2ae_core.report.command import write_report

__all__ = ["write_report"]
