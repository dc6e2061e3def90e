"""Plots with matplotlib: traffic that was counted, speed and training that were measured."""
