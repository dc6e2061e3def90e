"""What strangers do to a file: bytes that are changed, and anything in the place of what was there."""

from __future__ import annotations

from hypothesis import strategies as st

LEAVES = st.none() | st.booleans() | st.integers(-3, 99) | st.integers() | st.floats() | st.text(max_size=9)
ANYTHING = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3))

WAYS = ("flip", "put", "take", "copy", "huge", "cut")


def attacked(data: st.DataObject, raw: bytes) -> bytes:
    """Bits flipped, bytes put in or taken out, pieces copied, numbers made huge, the end cut off."""
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        how = data.draw(st.sampled_from(WAYS))
        if not damaged:
            break
        if how == "flip":
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "put":
            damaged[at:at] = data.draw(st.binary(max_size=9))
        elif how == "take":
            del damaged[at : at + data.draw(st.integers(1, 40))]
        elif how == "copy":
            damaged[at : at + 40] = damaged[-60:-20]
        elif how == "huge":
            damaged[at : at + 4] = b"\xff\xff\xff\x7f"
        elif at > len(damaged) // 2:
            del damaged[at:]
    return bytes(damaged)
