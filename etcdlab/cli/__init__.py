"""The command line: click commands that return results, and one renderer that prints them."""
