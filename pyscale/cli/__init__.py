"""The command line: ``pyscale demo``, ``compare``, ``train``, ``search``, ``profile``, ``doctor``."""
