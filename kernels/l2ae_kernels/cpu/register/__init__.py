"""The register-tiled rung: products whose sums never leave the vector registers.

tiles.py      the innermost loops: what one tile of sums does
arguments.py  how a kernel gets its numbers: one row of named integers
correlate.py  correlation and its adjoint in x over tiles; dense layers
gradients.py  the adjoint in W over tiles; sums for biases
pack.py       weights in the order in which the tiles read them
library.py    all of it compiled once for this machine
ops.py        rows of the implementations table
"""
