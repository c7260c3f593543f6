"""Where budgets are kept beyond the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascadeflow.budgets.stores.sqlite import SqliteStore
    from cascadeflow.clock import Clock

__all__ = ["open_store"]


def open_store(
    url: str,
    *,
    clock: Clock | None = None,
    read_only: bool = False,
    audit_key: str | bytes | None = None,
) -> SqliteStore:
    """Opens the store that a URL names, or makes it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_store(f"sqlite:///{folder}/budgets.db") as store:
    ...         store.head().rows
    0

    Args:
        url: `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`.
        clock: what dates the events that the store itself writes; the machine's when `None`.
        read_only: for reports: beside the process that writes, and with nothing changed.
        audit_key: makes the log's hash chain unforgeable to whoever does not have it; at least 16
            bytes, the same at every opening. `None` takes `CASCADEFLOW_AUDIT_KEY` from the
            environment, or else none.

    Raises:
        ConfigurationError: the URL names no file, or the key is too short.
        StoreError: the file is no store, is damaged, in use by another process, or cannot be read
            or written.
    """
    from cascadeflow.budgets.stores.chain import Chain  # noqa: PLC0415 - only with a store
    from cascadeflow.budgets.stores.sqlite import SqliteStore  # noqa: PLC0415
    from cascadeflow.clock import SystemClock  # noqa: PLC0415

    return SqliteStore(
        url,
        clock=clock or SystemClock(),
        chain=Chain.from_environment(audit_key),
        read_only=read_only,
    )
