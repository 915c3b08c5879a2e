"""`python -m phoenix` is the `phoenix` command."""

from phoenix.cli import main

main()
