"""Pictures: actors that stand together and what they do, one kind a file. What is said of them, a film says."""
