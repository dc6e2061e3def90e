"""How fast attention is here, of these kernels and of others: measured, trained with, and tuned."""
