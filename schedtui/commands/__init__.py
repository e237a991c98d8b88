"""Commands of their own file, one a file; ``cli`` puts them together."""
