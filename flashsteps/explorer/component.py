"""A web component, `<flash-steps>`: a frame with a part of the explorer in it, as high as the part is."""

from __future__ import annotations

import html
import re

#: as small as it can be and be read, for it is pasted: what a frame says of its height is believed only from that frame
SCRIPT = (
    'customElements.define("flash-steps",class extends HTMLElement{connectedCallback(){'
    'const f=document.createElement("iframe");'
    'f.title="FlashAttention, explored";f.loading="lazy";f.style.cssText="width:100%;border:0;height:480px";'
    'const s=this.getAttribute("src")||"explorer.html";'
    'f.src=s+"?embed="+(this.getAttribute("part")||"map")+"#"+(this.getAttribute("at")||"");'
    'addEventListener("message",e=>{const h=e.data&&e.data.flashsteps&&e.data.flashsteps.height;'
    'if(e.source===f.contentWindow&&h>0&&h<4000)f.style.height=h+"px"});this.append(f)}});'
)

_STATE = r"[A-Za-z0-9_=&.,:+-]*"


def lines(part: str, state: str, src: str) -> list[str]:
    """The lines to paste. Raises ValueError for a state that no address of the explorer has."""
    state = state.removeprefix("#")
    if not re.fullmatch(_STATE, state):
        raise ValueError(f"--at {state!r:.60} is no state of the explorer: give what its link has after the #")
    at = f' at="{html.escape(state)}"' if state else ""
    return [
        f'<script type="module">{SCRIPT}</script>',
        f'<flash-steps src="{html.escape(src)}" part="{html.escape(part)}"{at}></flash-steps>',
    ]
