"""FlashAttention-2 (FA2, Algorithm 1): queries outside, one program for each block of them, many at once."""

from flashsteps.filmkit.films import Spec

FILM = Spec(
    algorithm="flash2-forward",
    title="FlashAttention-2 forward",
    loops="each program: for j: K, V",
    kind="lanes",
    repeats={
        "i": "These programs are done: their SMs take the next blocks of queries.",
        "j": "No program needs another, so they run at once. Each keeps its acc on chip.",
    },
    alone={
        "i": "The next program, with the next block of queries. On a GPU they run at once.",
        "j": "The next keys and values stream past. acc stays on chip.",
    },
)
