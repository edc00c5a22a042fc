"""k-means on the CPU with emitted kernels: the rung `register` of `assign` and `restarts`.

tiles.py          squared distances of some rows × 16 packed columns, in registers; short samples
long_tiles.py     the kernels of long samples
library.py        their machine code, and how a Numba function calls it
assign.py         one assignment
sums.py           sums of clusters that do not depend on the order of additions
short.py          a pass over short samples: every distance, lanes are samples
screened.py       the same labels by products, where screened_times.py finds that faster
bounds.py         a pass over long samples: only the distances that can matter, lanes are centers
part.py           one part of the samples, with no state in between
restarts.py       the state of several Lloyd runs over the same samples
"""
