"""What to optimise: the roles, the loop they run in, and the minds that can fill them. Imports the backend, no UI."""
