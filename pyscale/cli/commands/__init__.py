"""One module a command; heavy libraries are imported inside the commands, so that ``--help`` is quick."""
