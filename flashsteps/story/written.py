"""With how many places figures stand on screen: few, and so many that each equation holds for who recomputes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..units import fixed

LEAST, MOST = 2, 6


class Term(NamedTuple):
    """A figure; all of a kind have as many places."""

    kind: str
    value: float


class Equals(NamedTuple):
    """The `result` is what `how` makes of the terms. Where it is of a kind of its own, there are always places enough;
    one that is of its terms' kind gets as many as they do, and may never hold."""

    result: Term
    how: Callable[..., float]
    terms: tuple[Term, ...]


class Places(dict[str, int]):
    """By kind; `LEAST` of one that no equation needs more of."""

    def __missing__(self, kind: str) -> int:
        return LEAST

    def write(self, kind: str, value: float) -> str:
        return fixed(value, self[kind], LEAST)

    def fill(self, formula: str, *terms: Term) -> str:
        """Each # is a term: "exp(# − #)" → "exp(3.459 − 4.468)"."""
        for term in terms:
            formula = formula.replace("#", self.write(*term), 1)
        return formula

    def reads(self, term: Term) -> float:
        """As a number again."""
        return float(self.write(*term).replace("−", "-"))


def places(
    equations: Iterable[Equals], apart: Iterable[tuple[Term, Term]] = (), least: dict[str, int] | None = None
) -> Places:
    """So many that each result, as it is written, is that of its terms, as they are written; and that figures `apart`
    are written differently, if they are different. At first as many as `least` says.

    Terms get further places before their result does: a sum of rounded numbers is not the rounded sum.
    """
    found, equations, apart = Places(least or {}), tuple(equations), tuple(apart)
    while True:
        wanted = [{one.kind for one in pair} for pair in apart if _alike(found, pair)]
        wanted += [_more(found, one) for one in equations if not holds(found, one)]
        grow = next((room for kinds in wanted if (room := {kind for kind in kinds if found[kind] < MOST})), None)
        if not grow:
            return found
        found.update({kind: found[kind] + 1 for kind in grow})


def holds(found: Places, one: Equals) -> bool:
    """Does who recomputes it from what is written find what is written, to half a unit of its last digit?"""
    return _found(found, one, map(found.reads, one.terms))


def _found(found: Places, one: Equals, values: Iterable[float]) -> bool:
    return abs(found.reads(one.result) - one.how(*values)) <= 0.5 * 10.0 ** -found[one.result.kind] + 1e-9


def _alike(found: Places, pair: tuple[Term, Term]) -> bool:
    a, b = pair
    return a.value != b.value and found.reads(a) == found.reads(b)


def _more(found: Places, one: Equals) -> set[str]:
    """What gets a further place: the first kind of its terms that has the fewest; its own, where only that
    helps."""
    own, exact = one.result.kind, [found.reads(x) if x.kind == one.result.kind else x.value for x in one.terms]
    room = [term.kind for term in one.terms if term.kind != own and found[term.kind] < MOST]
    if not room or not _found(found, one, exact):
        return {own}
    return {min(room, key=lambda kind: found[kind])}
