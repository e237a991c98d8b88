"""How to observe a machine's scheduler and act on it. Imports no user interface and no model client."""
