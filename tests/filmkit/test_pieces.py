"""A film is drawn in pieces: all of it, in order, in pieces of one length, none longer than it may be."""

from hypothesis import given
from hypothesis import strategies as st

from flashsteps.filmkit import rendering


@given(st.integers(1, 20_000), st.integers(1, 120))
def test_pieces_are_the_film_and_two_cores_are_done_together(count, fps):
    spans = rendering.pieces(count, fps)
    assert [k for span in spans for k in span] == list(range(count))
    lengths = [len(span) for span in spans]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= rendering.PIECE * fps
    assert (len(spans) - 1) * rendering.PIECE * fps < count  # no more of them than there have to be
