"""One model's activations into a store."""
