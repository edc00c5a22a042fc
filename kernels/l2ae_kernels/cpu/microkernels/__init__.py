"""The register-tiled rung: products whose sums never leave the vector registers.

tiles.py      the innermost loops: what one tile of sums does
correlate.py  correlation and its adjoint in x over tiles
gradients.py  the adjoint in W over tiles; sums for biases
dense.py, dense_gradients.py, adam.py         dense layers, and Adam on sums in registers
amx_dense.py, amx_gradients.py, amx_block.py  the same by AMX, in parts of bfloat16
dense_tile.py, dense_tile_times.py            the shape of their tile: chosen on this machine, kept
batch_norm.py, batch_rows.py                  batch norm: sums over a batch, and what uses them
winograd*.py  the 5×5 layers by Winograd's algorithm: matrices, transforms, products, memory layouts
calls.py, winograd_calls.py                   what to call for which product
program.py    rows of arguments, calls, and many calls at the price of one
pack.py       weights in the order in which the tiles read them
library.py    all of it compiled once for this machine
ops.py, winograd_ops.py                       rows of the implementations table
"""
