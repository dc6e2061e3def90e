"""Standard attention (FA1, Algorithm 0): S and P, a number for each query and key, go out to HBM and come back."""

from flashsteps.filmkit.films import Spec

FILM = Spec(
    algorithm="standard-forward",
    title="Standard attention",
    loops="S = Q K^{T}   P = softmax(S)   O = P V",
    kind="kernels",
    repeats={"i": "The same for the next rows."},
    kernels=("S = Q K^{T}", "softmax", "O = P V"),
)
