"""LayerNorm and its adjoint for a training step: rows of D floats, an activation behind.

    μ = Σ x/D,  1/σ = 1/√(Σ (x − μ)²/D + ε),  y = act(γ x̂ + β),  x̂ = (x − μ)/σ
    dx̂ = γ dy,  dx = (dx̂ − Σ dx̂/D − x̂ Σ x̂ dx̂/D)/σ,  dγ += Σ x̂ dy,  dβ += Σ dy

Rows lie one after the other. Forward leaves μ and 1/σ of each row for the way back. The gate of the
activation is in dy already.
"""

from l2ae_kernels.cpu.codegen.emitter import F32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments

# x, y, dy, dx (rows, D); mean and inverse (rows,); gamma and beta (D,); eps and slope are one float
STANDARDIZE = Arguments("x y mean inverse gamma beta eps slope rows D")
STANDARDIZE_ADJOINT = Arguments("x dy dx mean inverse gamma dgamma dbeta rows D")


def add_standardize(module: Module) -> None:
    """Emit standardize(arguments, m): y, μ and 1/σ."""
    with module.function("standardize", 2) as (e, address, _):
        a = STANDARDIZE.read(e, address)
        x, y, gamma, beta = (e.pointer(p) for p in (a.x, a.y, a.gamma, a.beta))
        mean, inverse = (e.pointer(p) for p in (a.mean, a.inverse))
        eps, slope = e.load_one(e.pointer(a.eps)), e.broadcast(e.pointer(a.slope))
        with e.each(0, a.rows) as r:
            x_row, y_row = e.at(x, r * a.D), e.at(y, r * a.D)

            def total(i: Integer, sums: list[Value], mask: Value | None = None) -> list[Value]:
                return [e.b.fadd(sums[0], e.load(x_row, i, mask))]

            mu = _share(e, e.over_vectors(a.D, [e.zero], total)[0], a.D)
            center = e.splat(mu)

            def square(i: Integer, sums: list[Value], mask: Value | None = None) -> list[Value]:
                d = _inside(e, e.b.fsub(e.load(x_row, i, mask), center), mask)
                return [e.fma(d, d, sums[0])]

            variance = _share(e, e.over_vectors(a.D, [e.zero], square)[0], a.D)
            factor = e.b.fdiv(F32(1.0), e.sqrt(e.b.fadd(variance, eps)))
            e.store_one(mu, mean, r)
            e.store_one(factor, inverse, r)
            scale = e.splat(factor)

            def result(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
                x_hat = e.b.fmul(e.b.fsub(e.load(x_row, i, mask), center), scale)
                v = e.fma(e.load(gamma, i, mask), x_hat, e.load(beta, i, mask))
                e.store(e.where_positive(v, v, e.b.fmul(slope, v)), y_row, i, mask)
                return []

            e.over_vectors(a.D, [], result)


def add_standardize_adjoint(module: Module, affine: bool) -> None:
    """Emit standardize_adjoint(arguments, m), or …_affine, which adds to dγ and dβ too."""
    name = "standardize_adjoint" + "_affine" * affine
    with module.function(name, 2) as (e, address, _):
        a = STANDARDIZE_ADJOINT.read(e, address)
        x, dy, dx, gamma = (e.pointer(p) for p in (a.x, a.dy, a.dx, a.gamma))
        dgamma, dbeta = (e.pointer(p) for p in (a.dgamma, a.dbeta))
        with e.each(0, a.rows) as r:
            x_row, dy_row, dx_row = (e.at(p, r * a.D) for p in (x, dy, dx))
            center, scale = (e.broadcast(e.pointer(p), r) for p in (a.mean, a.inverse))

            def x_hat(i: Value, mask: Value | None) -> Value:
                return e.b.fmul(e.b.fsub(e.load(x_row, i, mask), center), scale)

            def sums(i: Value, total: list[Value], mask: Value | None = None) -> list[Value]:
                d = e.b.fmul(e.load(gamma, i, mask), e.load(dy_row, i, mask))  # 0 off the mask
                return [e.b.fadd(total[0], d), e.fma(d, x_hat(i, mask), total[1])]

            found = e.over_vectors(a.D, [e.zero, e.zero], sums)
            shift, along = (e.splat(_share(e, total, a.D)) for total in found)

            def result(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
                here, g = x_hat(i, mask), e.load(dy_row, i, mask)
                across = e.b.fsub(e.b.fmul(e.load(gamma, i, mask), g), shift)
                across = e.b.fsub(across, e.b.fmul(here, along))
                e.store(e.b.fmul(across, scale), dx_row, i, mask)
                if affine:
                    e.store(e.fma(here, g, e.load(dgamma, i, mask)), dgamma, i, mask)
                    e.store(e.b.fadd(e.load(dbeta, i, mask), g), dbeta, i, mask)
                return []

            e.over_vectors(a.D, [], result)


def _share(e: Emitter, lanes: Value, D: Integer) -> Value:
    """Emit the sum of a vector's lanes over D, as a scalar."""
    return e.b.fdiv(e.sum_of_lanes(lanes), e.b.sitofp(D.value, F32))


def _inside(e: Emitter, v: Value, mask: Value | None) -> Value:
    """Lanes off the mask are 0."""
    return v if mask is None else e.b.select(mask, v, e.zero)
