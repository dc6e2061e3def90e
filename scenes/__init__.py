"""The films, one a file: which algorithm, which panels, what is said. Installed as `flashsteps.scenes`."""
