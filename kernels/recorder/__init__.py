"""The recorder: what any Triton kernel loads, makes and stores, as a tape, and from that a trace."""
