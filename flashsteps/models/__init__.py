"""A model that is being run: the attention that it asks for, call by call."""
