"""How alike the weights of single layers are from network to network, beside what unrelated weights would get."""
