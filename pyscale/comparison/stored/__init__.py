"""Comparing what is stored: layers are read batch by batch and given to the same strategies as live activations."""
