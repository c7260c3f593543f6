"""`python -m cascadeflow.cli` is the `cascadeflow` command."""

from cascadeflow.cli import main

main()
