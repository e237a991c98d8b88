"""Putting the helper where only root can write, and taking it away again."""
