"""``python -m pyscale`` is the ``pyscale`` command."""

from pyscale.cli.app import main

if __name__ == "__main__":
    main()
