"""Running an algorithm: recorded step by step, counted without data, or held in hand and stepped through."""
