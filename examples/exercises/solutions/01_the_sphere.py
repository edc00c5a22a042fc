# %% [markdown]
# # Solution of exercise 1: the sphere
#
# Fill the gaps, and run `pytest examples/exercises/test_01.py` until it passes. Lesson 1 has the
# first three for one vector; here they are for a batch z (N, D). Sums along the last axis need
# `keepdims=True`. Nothing may take an absolute value, so that complex steps go through.

# %%
import numpy as np

# %% [markdown]
# **a.** Eq. 4 for every row: n = √(z·z), u = z/n.


# %%
def l2_normalize(z):
    """Return u (N, D) and n (N, 1) of z (N, D)."""
    n = np.sqrt((z * z).sum(axis=-1, keepdims=True))
    return z / n, n


# %% [markdown]
# **b.** Its backward pass: dz = (du − u⟨u, du⟩)/n.


# %%
def l2_normalize_adjoint(du, u, n):
    """Return dz (N, D) for du, u (N, D) and n (N, 1)."""
    return (du - u * (u * du).sum(axis=-1, keepdims=True)) / n


# %% [markdown]
# **c.** The check: Im f(z + ih eⱼ)/h for every entry of z, with h = 1e-20.


# %%
def complex_step(f, z, h=1e-20):
    """Return the gradient (N, D) of f, a real function of an array like z (N, D)."""
    gradient = np.empty(z.shape)
    for index in np.ndindex(z.shape):
        moved = z.astype(complex)
        moved[index] += 1j * h
        gradient[index] = f(moved).imag / h
    return gradient


# %% [markdown]
# **d.** The normality score (Eq. 5) of a code u and unit centres c (K, D) is v = max_j u·cⱼ. Which
# dz has it? The maximum hands its gradient to the one cⱼ that attains it, and **b** does the rest.


# %%
def normality_adjoint(dv, z, centers):
    """Return dz (N, D) for dv (N,), z (N, D) before Eq. 4, and centers (K, D) of length 1."""
    u, n = l2_normalize(z)
    nearest = (u @ centers.T).argmax(axis=1)  # (N,)
    return l2_normalize_adjoint(dv[:, None] * centers[nearest], u, n)


# %% [markdown]
# **e.** Layer normalization (Table III), (z − mean)/σ with σ = √mean((z − mean)²) over the features
# of a row, has a backward pass of the same kind. It is √D times Eq. 4 of z − mean; and subtracting
# the mean is its own adjoint. So it takes two lines more than **b**.


# %%
def layer_norm_adjoint(dy, z):
    """Return dz (N, D) for dy (N, D), where y = layer norm of z (N, D)."""
    u, n = l2_normalize(z - z.mean(axis=-1, keepdims=True))
    dz = np.sqrt(z.shape[-1]) * l2_normalize_adjoint(dy, u, n)
    return dz - dz.mean(axis=-1, keepdims=True)
