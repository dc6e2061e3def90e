"""The talk: the films in order, a chapter a click, as a page for a browser, as PowerPoint's file, or as a PDF."""
