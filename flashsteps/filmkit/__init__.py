"""Films: from a storyboard to a script, from a script to pictures, from pictures to a file."""
