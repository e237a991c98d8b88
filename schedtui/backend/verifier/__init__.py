"""The verifier: what is proven of a policy before it may touch a machine that somebody uses."""
