"""The films, one a file: which algorithm, which panels, what is said. Installed as `flashsteps.scenes`."""

#: the order of films, in a list and in a talk, by section, as the paper goes; what is named nowhere comes last
SECTIONS = {
    "The problem": ("problem",),
    "The hardware": ("memory-hierarchy", "roofline"),
    "Standard attention": ("standard",),
    "The method": ("online-softmax",),
    "The algorithm": ("flash-forward", "flash2-forward", "race"),
    "Recomputation": ("backward",),
    "Complexity": ("io-complexity",),
    "Sparse attention": ("block-sparse",),
    "Applications": ("causal", "decode"),
    "A kernel": ("kernel",),
    "Experiments": ("experiments",),
    "Limitations": ("limits",),
}
