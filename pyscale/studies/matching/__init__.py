"""Which layer of another network a layer corresponds to: how often each similarity finds it."""
