"""The Rust side of CascadeFlow. Checked against the built module by mypy's stubtest."""

__version__: str
DEBUG_BUILD: bool
