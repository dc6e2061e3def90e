"""The films, one a file: which algorithm, which panels, what is said. Installed as `flashsteps.scenes`."""

#: the order of films, in a list and in a talk, by section, as the paper goes; what is named nowhere comes last
SECTIONS = {
    "The problem": ("problem",),
    "The hardware": ("memory-hierarchy", "roofline"),
    "Standard attention": ("standard",),
    "The method": ("online-softmax", "flash-forward", "flash2-forward", "race"),
    "Recomputation": ("backward",),
    "Masks and decoding": ("causal", "decode"),
    "Complexity": ("io-complexity",),
    "Sparse attention": ("block-sparse",),
    "A kernel": ("kernel",),
    "Experiments": ("experiments",),
    "Limitations": ("limits",),
}
