"""The stepper in a terminal: `view` knows what is to be seen, `panes` puts it into lines, `app` is the program."""
