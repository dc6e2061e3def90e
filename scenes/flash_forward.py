"""FlashAttention (FA1, Algorithm 1): keys and values outside, queries inside, O, ℓ and m going out to HBM and back."""

from flashsteps.filmkit.films import Spec

FILM = Spec(
    algorithm="flash-forward",
    title="FlashAttention forward",
    loops="for j: K, V   for i: Q, O, ℓ, m",
    kind="tile",
    repeats={
        "i": "The same keys and values, the next queries.",
        "j": "The next keys and values: O, ℓ and m of every query come in again.",
    },
)
