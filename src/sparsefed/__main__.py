"""`python -m sparsefed` is the command line."""

from sparsefed.cli import main

if __name__ == "__main__":
    main()
