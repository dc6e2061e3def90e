"""Decode: one query, a long cache: keys shared out to programs, results merged; and keys that lie in pages."""

import numpy as np

from flashsteps.filmkit import Board, Film, linear
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.row import Row
from flashsteps.filmkit.pictures import long_cache
from flashsteps.filmkit.pictures.answers import Answers
from flashsteps.filmkit.pictures.cut_cache import CutCache
from flashsteps.filmkit.pictures.decoding import Toy, toy_of
from flashsteps.filmkit.pictures.in_pages import InPages
from flashsteps.filmkit.pictures.long_cache import D, N, shared
from flashsteps.filmkit.pictures.merged import Merged
from flashsteps.filmkit.pictures.one_piece import OnePiece
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.filmkit.tiles import held, made
from flashsteps.machine.devices import MODEL, Device, device
from flashsteps.story.labels import a
from flashsteps.units import at_most, size_of

#: what it is: the log of the sum of a row's exponentials
LSE = "LSE = m + ln ℓ = ln Σ e^{s}"


class Decode(Film):
    title = "Decode"

    def storyboard(self, board: Board) -> None:
        gpu, place, toy = device(board.option("device", "a100-80gb")), stage(board), toy_of(board)
        if not board.short:
            with board.chapter("One query"):
                asks(board, place, toy)
            with board.chapter("A long cache"):
                cache_of(board, place, gpu)
        with board.chapter("Idle SMs"):
            idle(board, place, gpu)
        if not board.short:
            with board.chapter("One piece"):
                piece(board, place, toy)
            with board.chapter("What it costs"):
                costs(board, place, gpu)
        with board.chapter("The merge"):
            merge(board, place, toy)
        if not board.short:
            with board.chapter("Pages"):
                pages(board, place, toy)
            with board.chapter("The same answer"):
                same(board, place, toy)


def asks(board: Board, place: Stage, toy: Toy) -> None:
    """One row of scores: a query looks back along all keys."""
    S, seen = made(toy.whole, "S")[0][0], board.value(0.0)
    low, high = min(0.0, float(S.min())), float(S.max()) * 1.1
    title = f"the scores of {toy.asks}, one for each key"
    board.put(Row(tuple(S.tolist()), "S", low, high, toy.keys, seen, title=title), place.whole)
    board.say("A new token asks one query of all keys in the cache.")
    note(board, place, f"{toy.asks} stands for the newest token here, and asks all keys of this toy: {len(S)}")
    board.move(seen.to(float(len(S))), seconds=2.4)


def cache_of(board: Board, place: Stage, gpu: Device) -> None:
    """K and V, as long as the cache; and how little is done with each byte."""
    grown, given = board.value(0.0), 0.8 < long_cache.intensity() < 1.5
    upper, lower = place.whole.rows(*board.pick(wide=(5, 2), square=(5, 3), tall=(5, 2)))
    words = f"{size_of(long_cache.read())} come in for one query: about one FLOP for each byte."
    said = below(place, f"{MODEL}; at full speed: {gpu.tflops:g} TFLOP/s in fp16, {gpu.bandwidth:g} TB/s of HBM")
    turn(board, words, (long_cache.what_comes(grown), upper), said, given=given, grows=(grown.to(1.0),))
    for figure, box in zip(long_cache.for_each_byte(gpu), lower.columns(2), strict=True):
        board.put(figure, box)


def idle(board: Board, place: Stage, gpu: Device) -> None:
    """One program for the one query; then one for each piece of its keys: in the same time, as fast each."""
    (pieces, each), sms = shared(gpu), gpu.multiprocessors
    boxes = place.whole.rows(2, gap=30)
    one, all_ = (CutCache(board, box, cut, sms) for cut, box in zip(long_cache.ways(gpu), boxes, strict=True))
    words, seconds = f"One query is one program: {sms - 1} SMs are idle.", 1.2 if board.short else 2.4
    turn(board, f"One query keeps one SM of {sms} busy." if board.short else words, *one.pictures)
    told = "bright: yet to be read; a piece is whole blocks; a model: all read alike"
    note(board, place, f"each square an SM of {a(gpu.model)}; {told}")
    board.wait(0.3)
    board.set(one.busy.to(1.0))
    board.move(one.read.to(float(each)), seconds=seconds, ease=linear)
    words = f"Cut the keys: in {pieces} pieces all {N:,} are read in the time of {each}."
    board.say(f"Cut the keys: {pieces} SMs read." if board.short else words, given=pieces > 0.8 * sms)
    for actor, box in all_.pictures:
        board.put(actor, box)
    board.wait(0.1 if board.short else 0.5)
    board.move(all_.busy.to(float(pieces)), seconds=0.5 if board.short else 0.8)
    board.move(all_.read.to(float(each)), seconds=seconds, ease=linear)


def piece(board: Board, place: Stage, toy: Toy) -> None:
    """A piece's blocks of keys stream past its program, as in FlashAttention-2; then it gives what it has."""
    one = OnePiece(board, place, toy)
    turn(board, "Each piece gives an output and an LSE: the log of the sum of its scores’ exponentials.", *one.pictures)
    cut = f"{len(toy.keys)} keys in {len(toy.pieces)} pieces, in blocks of {toy.block}"
    note(board, place, f"the toy: {cut}; {LSE}, one number a row")
    one.run_through()
    one.give()
    board.wait(1.0)


def costs(board: Board, place: Stage, gpu: Device) -> None:
    """What splitting adds to the traffic."""
    grown, (pieces, _) = board.value(0.0), shared(gpu)
    chart, kv, extra = long_cache.what_it_costs(gpu, grown)
    words = f"Partial results add {size_of(extra)}: {extra / kv:.1%} of the cache."
    said = f"{pieces} outputs of {D} numbers and {pieces} LSEs, in fp32, out and back; {MODEL}"
    pictures = (chart, place.whole.rows(1, 5, 2)[1]), below(place, said)
    turn(board, words, *pictures, grows=(grown.to(1.0),))


def merge(board: Board, place: Stage, toy: Toy) -> None:
    """Each piece weighs what its LSE says; the weighted outputs add up to the whole attention."""
    merged, whole = Merged(board, place, toy), held(toy.whole, "O")[0]
    words = "Each piece’s LSE says what it weighs; the weighted sum is the whole attention."
    apart = float(np.abs((merged.weights[:, None] * merged.Os).sum(axis=0) - whole).max())
    if board.short:
        words = "Each piece’s LSE says what it weighs."
    turn(board, words, *merged.pictures, given=apart < 1e-2 and abs(float(merged.weights.sum()) - 1) < 1e-3)
    how = f"weight = exp(LSE − LSE of all), together 1; LSE of all: {merged.whole}"
    board.put(Text(how), merged.under)
    note(board, place, f"{toy.asks} asks; {toy.answers} lies in piece {toy.piece}; {LSE} over a piece’s scores s")
    merged.add_up(0.3 if board.short else 0.6, 0.0 if board.short else 0.2)


def pages(board: Board, place: Stage, toy: Toy) -> None:
    """A table says in which page of the pool each page of the sequence lies."""
    pool = InPages(board, place, toy)
    turn(board, f"The table says where each page lies: {pool.where}.", pool.picture)
    note(board, place, f"hatched: pages of other sequences; each lookup is {pool.looked} B of traffic")
    pool.look_up()


def same(board: Board, place: Stage, toy: Toy) -> None:
    """The output of all three, one below the other, and its first digits."""
    ways = {"all keys at once": toy.whole, f"in {len(toy.pieces)} pieces": toy.split, "in pages": toy.paged}
    answers = Answers(board, place, ways)
    turn(board, "Split or paged: the same answer, to rounding.", answers.table, given=answers.apart < 1e-2)
    rest = f"digits: the first {answers.many} of {answers.length} numbers of O, in fp32"
    note(board, place, f"{rest}; over all of them the three differ by {at_most(answers.apart)} at most")
    for n, (row, box) in enumerate(answers.rows):
        board.put(row, box)
        board.set(answers.seen.to(n + 1))
        board.wait(0.9)
