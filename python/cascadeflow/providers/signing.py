"""Who signs requests where a provider is reached without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.protocols import Signer
    from cascadeflow.providers.registry import SignerName

__all__ = ["signer_for"]


def signer_for(name: SignerName, model: ModelConfig) -> Signer:
    """Gives a signer for the requests to one model.

    Raises:
        MissingDependencyError: its extra is not installed.
        MissingKeyError: there are no credentials.
    """
    if name == "aws-sigv4":
        from cascadeflow.providers.aws import AwsSigner  # noqa: PLC0415 - an extra

        return AwsSigner(model)
    from cascadeflow.providers.google import GoogleSigner  # noqa: PLC0415 - an extra

    return GoogleSigner(model)
