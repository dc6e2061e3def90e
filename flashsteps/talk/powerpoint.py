"""A talk as PowerPoint's file: a chapter's film plays when its slide comes, and stands at its end; a click goes on.

Until it plays, and in print, a film shows the picture that it ends with. Names of slides stand above them, out of
sight, for who reads an outline or listens.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..filmkit.boxes import CANVASES, shape_of
from ..filmkit.clips import Clip
from ..theme import Theme
from ..theme import theme as theme_of
from . import opening
from .plan import Card, Chapter, Column, opening_of

WIDE = 12_192_000  # EMU: 13.333 inches, as PowerPoint has it
FONT = "Arial"  # which is there wherever this is opened
TITLE_ONLY = 5  # the layout of the template that has a title and nothing else

#: PowerPoint's own words for: this film begins by itself, as soon as the slide is there
PLAYS = """
<p:timing xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"><p:tnLst><p:par>
<p:cTn id="1" dur="indefinite" restart="never" nodeType="tmRoot"><p:childTnLst>
<p:seq concurrent="1" nextAc="seek"><p:cTn id="2" dur="indefinite" nodeType="mainSeq"><p:childTnLst>
<p:par><p:cTn id="3" fill="hold"><p:stCondLst><p:cond delay="indefinite"/><p:cond evt="onBegin" delay="0">
<p:tn val="2"/></p:cond></p:stCondLst><p:childTnLst><p:par><p:cTn id="4" fill="hold">
<p:stCondLst><p:cond delay="0"/></p:stCondLst>
<p:childTnLst><p:par><p:cTn id="5" presetID="1" presetClass="mediacall" presetSubtype="0" fill="hold"
 nodeType="afterEffect"><p:stCondLst><p:cond delay="0"/></p:stCondLst><p:childTnLst>
<p:cmd type="call" cmd="playFrom(0.0)"><p:cBhvr><p:cTn id="6" dur="{ms}" fill="hold"/><p:tgtEl><p:spTgt spid="{shape}"/>
</p:tgtEl></p:cBhvr></p:cmd></p:childTnLst></p:cTn></p:par></p:childTnLst></p:cTn></p:par></p:childTnLst></p:cTn></p:par>
</p:childTnLst></p:cTn><p:prevCondLst><p:cond evt="onPrev" delay="0"><p:tgtEl><p:sldTgt/></p:tgtEl></p:cond>
</p:prevCondLst><p:nextCondLst><p:cond evt="onNext" delay="0"><p:tgtEl><p:sldTgt/></p:tgtEl></p:cond></p:nextCondLst>
</p:seq><p:video><p:cMediaNode vol="80000"><p:cTn id="7" fill="hold" display="0"><p:stCondLst>
<p:cond delay="indefinite"/></p:stCondLst></p:cTn><p:tgtEl><p:spTgt spid="{shape}"/></p:tgtEl></p:cMediaNode></p:video>
</p:childTnLst></p:cTn></p:par></p:tnLst></p:timing>
"""


def write(
    path: Path,
    columns: Sequence[Column],
    media: Iterable[Clip],
    size: tuple[int, int],
    theme: str,
) -> None:
    """Write it, whole or not at all, with a clip for each chapter; the same talk gives the same bytes."""
    from pptx import Presentation

    clips, colors = iter(media), theme_of(theme)
    deck: Any = Presentation()
    first = opening_of(columns)
    deck.core_properties.title, deck.core_properties.author = first.title, first.by or "flashsteps"
    emu = WIDE / max(size)
    deck.slide_width, deck.slide_height = (round(side * emu) for side in size)
    unit = emu * min(size[0] / CANVASES[shape_of(*size)].w, size[1] / CANVASES[shape_of(*size)].h)
    _links_in(deck, colors.Q)
    for slide in (slide for column in columns for slide in column):
        made = deck.slides.add_slide(deck.slide_layouts[TITLE_ONLY])
        made.background.fill.solid()
        made.background.fill.fore_color.rgb = _color(colors.bg)
        made.notes_slide.notes_text_frame.text = slide.notes
        if isinstance(slide, Card):
            (_opening if slide.opens else _card)(made, slide, deck, unit, colors)
        else:
            _chapter(made, slide, deck, next(clips))
    data = io.BytesIO()
    deck.save(data)
    with files.whole(path) as aside:
        aside.write_bytes(_undated(data))


def _opening(made: Any, card: Card, deck: Any, unit: float, colors: Theme) -> None:
    """The title ends where it does, however many its lines."""
    from pptx.enum.text import MSO_ANCHOR
    from pptx.util import Emu

    left, width, end = deck.slide_width // 16, deck.slide_width * 7 // 8, round(480 * unit)
    shape, title = shape_of(deck.slide_width, deck.slide_height), made.shapes.title
    title.left, title.top, title.width, title.height = (
        left,
        end - round(opening.HIGH * unit),
        width,
        round(opening.HIGH * unit),
    )
    _write(title.text_frame, card.title, opening.title(card.title, shape).size, colors.ink, unit, bold=True)
    title.text_frame.vertical_anchor = MSO_ANCHOR.BOTTOM
    below = _box(made, left, end + round(24 * unit), width, unit)
    _write(below, card.words, 44, colors.dim, unit)
    if card.by:
        below.add_paragraph().space_before = Emu(round(24 * unit))
        _write(below, card.by, opening.name(card.by, shape).size, colors.ink, unit)


def _card(made: Any, card: Card, deck: Any, unit: float, colors: Theme) -> None:
    left, width, middle = deck.slide_width // 16, deck.slide_width * 7 // 8, deck.slide_height * 2 // 5
    if card.links:
        middle = deck.slide_height // 5
    title, size = made.shapes.title, 104 if deck.slide_width > deck.slide_height else 72
    title.left, title.top, title.width, title.height = left, middle, width, round(size * 1.5 * unit)
    _write(title.text_frame, card.title, size, colors.ink, unit, bold=True)
    if card.above:
        _write(_box(made, left, middle - round(64 * unit), width, unit), card.above, 40, colors.accent, unit, bold=True)
    below = title.top + title.height
    _write(_box(made, left, below, width, unit), card.words, 44, colors.dim, unit)
    for n, link in enumerate(card.links):
        top = below + round((120 + 70 * n) * unit)
        _write(_box(made, left, top, width // 2, unit), link.name, 40, colors.ink, unit)
        run = _write(_box(made, left + width // 2, top, width // 2, unit), link.words, 40, colors.Q, unit)
        run.hyperlink.address = link.address


def _links_in(deck: Any, color: str) -> None:
    """A link has the colour that the deck's own theme gives it, whatever its run says."""
    from pptx.opc.constants import RELATIONSHIP_TYPE

    part = deck.slide_master.part.part_related_by(RELATIONSHIP_TYPE.THEME)
    link = rf'<a:\1><a:srgbClr val="{color[1:].upper()}"/></a:\1>'.encode()
    part._blob = re.sub(rb"<a:(hlink|folHlink)>.*?</a:\1>", link, part.blob, flags=re.DOTALL)


def _box(made: Any, left: int, top: int, width: int, unit: float) -> Any:
    return made.shapes.add_textbox(left, top, width, round(64 * unit)).text_frame


def _write(frame: Any, words: str, size: float, color: str, unit: float, bold: bool = False) -> Any:
    """Words in a frame's last paragraph, from its left; `size` in units. Gives the run."""
    from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
    from pptx.util import Emu

    frame.word_wrap, frame.vertical_anchor = True, MSO_ANCHOR.TOP
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    paragraph = frame.paragraphs[-1]
    paragraph.alignment = PP_ALIGN.LEFT
    run = paragraph.add_run()
    run.text, run.font.name, run.font.size, run.font.bold = words, FONT, Emu(round(size * unit)), bold
    run.font.color.rgb = _color(color)
    return run


def _chapter(made: Any, chapter: Chapter, deck: Any, clip: Clip) -> None:
    from pptx.oxml import parse_xml

    title = made.shapes.title
    title.text_frame.text = chapter.name
    width, height = deck.slide_width, deck.slide_height
    title.left, title.top, title.width, title.height = 0, -height // 6, width, height // 9
    whole = 0, 0, width, height
    movie = made.shapes.add_movie(str(clip.film), *whole, poster_frame_image=str(clip.still), mime_type="video/mp4")
    movie.name = f"{chapter.name}.mp4"
    movie._element.nvPicPr.cNvPr.set("descr", chapter.words)
    for old in made._element.findall("{*}timing"):
        made._element.remove(old)
    ms = round((chapter.span.stop - chapter.span.start) * 1000)
    made._element.append(parse_xml(" ".join(PLAYS.split()).format(ms=ms, shape=movie.shape_id)))


def _color(color: str) -> Any:
    from pptx.dml.color import RGBColor

    rgb: Any = RGBColor
    return rgb.from_string(color[1:].upper())


def _undated(data: io.BytesIO) -> bytes:
    """The same archive without the time at which it was written; films and pictures are small as they are."""
    made = io.BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            packed = not name.endswith((".mp4", ".png"))
            entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            new.writestr(entry, old.read(name))
    return made.getvalue()
