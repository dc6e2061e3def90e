"""Backward: P is made again from Q, K and LSE, which costs products and saves bytes; and which program owns what."""

from flashsteps.filmkit import Board, Film
from flashsteps.filmkit.pictures.backward_run import alike, known, of_standard, recorded, worst
from flashsteps.filmkit.pictures.both_ways import TILE_F, BothWays, D, N
from flashsteps.filmkit.pictures.compared import Compared
from flashsteps.filmkit.pictures.gradients import FromP, after_forward, sums_of_rows
from flashsteps.filmkit.pictures.growing import Growing
from flashsteps.filmkit.pictures.owners import MADE, PRODUCTS, Owners
from flashsteps.filmkit.pictures.remade import Remade, missing
from flashsteps.filmkit.places import Stage, note, stage, turn
from flashsteps.filmkit.run import Run
from flashsteps.filmkit.telling import times
from flashsteps.filmkit.tiles import blocks, held
from flashsteps.machine.devices import device
from flashsteps.runs.counting import count
from flashsteps.story.labels import a
from flashsteps.units import at_most, short, size_of, time_of


class Backward(Film):
    title = "Backward"

    def storyboard(self, board: Board) -> None:
        run, place = recorded(board, "flash2-backward"), stage(board)
        if not board.short:
            with board.chapter("What it needs"):
                needed(board, place, run)
        with board.chapter("P, made again"):
            again(board, place, run)
        if not board.short:
            with board.chapter("Kernel 1: D"):
                sums(board, place, run)
            with board.chapter("From P to dS"):
                scores(board, place, run)
            with board.chapter("Kernels 2 and 3"):
                grow(board, place, run)
            with board.chapter("Who owns what"):
                owners(board, place, run)
        with board.chapter("What it saves"):
            trade(board, place, recorded(board, "standard-backward"))
        if not board.short:
            with board.chapter("The same gradients"):
                same(board, place, run)


# ---- shots


def needed(board: Board, place: Stage, run: Run) -> None:
    """What lies in HBM after the forward pass; dO comes; and P isn't there."""
    grown = board.value(0.0)
    pictures, none = after_forward(board, place, run, grown)
    for actor, box in pictures:
        board.put(actor, box)
    board.say("The gradients dQ, dK and dV take P, the weights, again.")
    drawn = ", the gradient of O, is drawn at random, seed 0" if known(board) is None else " is the gradient of O"
    note(board, place, f"dO{drawn}; LSE: the log of each row’s sum of e^{{S}}, one number")
    board.move(grown.to(float(len(held(run, "dO")))), seconds=1.4)
    board.put(missing(none), none)


def again(board: Board, place: Stage, run: Run) -> None:
    """One tile of P, from one of Q, one of K, and one number a row."""
    tile = Remade(board, place, run)
    words = "P is not fetched: exp(S − LSE) makes it again, from Q, K and one number a row."
    if board.short:
        words = "P is not fetched: it is made again, from Q, K and LSE."
    turn(board, words, *tile.pictures)
    kept = f"standard attention keeps P, all N×N, and loads it {loads_of_p()}"
    note(board, place, f"softmax of S gives the same weights, to {at_most(worst(run))}; {kept}")
    tile.make()
    tile.tell_one(f"the weight of {run.quoted('keys', tile.key)} for {run.quoted('queries', tile.row)}")


def sums(board: Board, place: Stage, run: Run) -> None:
    """D: each row of O times dO, added up."""
    O, dO, now = held(run, "O"), held(run, "dO"), board.value(0.0)
    given = alike(held(run, "D")[:, 0], (O * dO).sum(axis=1))
    words = "Kernel 1 makes D, one number more a row: the sum of O times dO."
    turn(board, words, *sums_of_rows(board, place, run, now), given=given)
    note(board, place, "∘ multiplies number by number, Σ adds up a row; kernels 2 and 3 need Q, K, V, dO, LSE and D")
    board.wait(0.3)
    board.move(now.to(float(len(O))), seconds=3.6)


def scores(board: Board, place: Stage, run: Run) -> None:
    """dP, then dS, of the same tile."""
    tile = FromP(board, place, run)
    words = "From P, dP and D comes dS: how the loss changes with each score."
    turn(board, words, *tile.pictures, given=alike(tile.P * (tile.dP - tile.D), tile.dS))
    note(board, place, "dP says how the loss changes with each weight; P, dP and dS stay on chip")
    for value in tile.there:
        board.wait(0.4)
        board.move(value.to(1.0), seconds=1.4)


def grow(board: Board, place: Stage, run: Run) -> None:
    """dV and dK of one program, dQ of another: sums that grow on chip, and go out."""
    sums = Growing(board, place, run)
    turn(board, "dV, dK and dQ are sums over tiles: they grow on chip, and go out once.", *sums.pictures)
    note(board, place, "once kernel 2 has ended kernel 3 begins, and makes S, P, dP and dS again")
    sums.add_up()


def trade(board: Board, place: Stage, standard: Run) -> None:
    """What moves in both, to scale, at a real size, and what they multiply; and how long either takes."""
    gpu, ways = device(board.option("device", "a100-80gb")), BothWays(board, place, standard)
    (theirs, ours), (few, more) = ways.ios, ways.products
    halved, P = ours.total < 0.55 * theirs.total and 1.5 < more / few < 2, theirs.by_tensor["P"].read
    moved = {name: sum(theirs.by_tensor[name]) // (2 * N * N) for name in ("P", "dP", "dS")}
    each = f"P {times(moved['P'])} ({size_of(P)}), dP {times(moved['dP'])}, dS {times(moved['dS'])}"
    words = f"Standard moves N×N matrices {sum(moved.values())} times: {each}."
    if board.short:
        words = "Nearly twice the products, half the bytes."
    took = [(io.total / gpu.bandwidth / 1e12, io.work.matmul / gpu.tflops / 1e12) for io in ways.ios]
    grown = [there.to(float(many)) for there, many in zip(ways.there, ways.many, strict=True)]
    first = () if board.short else (grown[0],)  # in the full film words on it come once it stands
    turn(board, words, *ways.pictures, given=halved, grows=first, seconds=1.6)
    size = f"N = {short(N)}, d = {D}, tiles {TILE_F[0]}×{TILE_F[1]}; times: {a(gpu.model)}’s at best"
    note(board, place, f"a rectangle: a matrix that comes in, thin: N×d, hatched: that goes out; {size}")
    for n, (io, (carried, made)) in enumerate(zip(ways.ios, took, strict=True)):
        if board.short or n > 0:
            board.move(grown[n], seconds=0.7 if board.short else 2.4)
        ways.tell(n, {size_of(io.total): time_of(carried), f"{ways.products[n]:.0f} matrix products": time_of(made)})
        board.wait(0.0 if board.short else 0.3)
    if board.short:
        board.say("P is cheaper made than moved.", given=2 / more * took[1][1] < P / gpu.bandwidth / 1e12)
        return
    board.say(f"{more:.0f} products instead of {few:.0f}, half the bytes: P, dP and dS never leave the chip.")


def loads_of_p() -> str:
    """How often standard attention loads P in its backward pass."""
    return times(count("standard-backward", n=N, d=D, block_q=N, block_k=N).by_tensor["P"].read // (2 * N * N))


def owners(board: Board, place: Stage, run: Run) -> None:
    """A program for each block of keys, one for each block of queries; what each keeps, and makes."""
    both = Owners(board, place, blocks(run))
    turn(board, "S and dP are made twice, in two kernels, so that each gradient has one owner.", *both.pictures)
    note(
        board,
        place,
        f"{MADE} products, not {len(PRODUCTS)}: so no two programs write to one place; "
        "the paper’s Algorithm 2 is one kernel, and adds to dQ in HBM",
    )
    both.go()


def same(board: Board, place: Stage, run: Run) -> None:
    """Gradients of both, and what they differ by, on one scale."""
    both, meta, ratio = Compared(board, place), run.trace.meta, of_standard(run)
    words = f"Both end with the same gradients, to {at_most(both.most)}."
    turn(board, words, *both.pictures, given=both.same)
    tiles = f"tiles of {meta['block_q']}" if meta["block_q"] == meta["block_k"] else "tiles"
    why = "; real sizes move fewer" if ratio > 1 else ": they are large enough"
    small = f"this toy’s {tiles} move {ratio:.1f}× standard’s bytes{why}"
    note(board, place, f"both in fp32; a row is a token, a column one of d; {small}")
