"""Where a model is and how it is asked, worked out once for each `ModelConfig`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cascadeflow.errors import ConfigurationError, MissingKeyError
from cascadeflow.providers.codecs import codec_for
from cascadeflow.providers.registry import get_provider, resolve_address
from cascadeflow.providers.signing import signer_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.protocols import Codec, EncodedRequest, Signer
    from cascadeflow.providers.registry import Provider

__all__ = ["Target"]


class Target:
    """Where a model is and how it is asked, worked out once for each `ModelConfig`."""

    __slots__ = ("_auth", "_fixed", "_ready", "base", "codec", "model", "provider", "signer")

    def __init__(self, model: ModelConfig) -> None:
        self.model = model
        self.provider: Provider = get_provider(model.provider)
        self.codec: Codec = codec_for(self.provider)
        self.base = resolve_address(self.provider, model)
        self._fixed = {
            "user-agent": _user_agent(),
            **{name.lower(): str(value) for name, value in model.headers.items()},
        }
        if not all(map(_sendable, self._fixed.values())):
            raise ConfigurationError(
                f"{model.id}: ModelConfig.headers has a value with characters no header can carry"
            )
        bearer = self.provider.auth == "bearer"
        self._auth = "authorization" if bearer else self.provider.auth
        self._ready: tuple[str | None, Mapping[str, str], Mapping[str, str]] | None = None
        """The key that was last used, the codec's headers and those made of both: one value, for
        all threads."""
        self.signer: Signer | None = None
        """Signs each try, where the provider has a way to do without a key and no key is set."""

    def url(self, path: str) -> str:
        """Joins the base and a path: a version that ends the one and begins the other counts once.

        So does a whole path that ends the base, as in an address copied from a provider's page.
        What the base says behind a question mark goes behind the path's own.
        """
        base, _, query = self.base.partition("?")
        base = base.rstrip("/")
        path, _, asked = path.partition("?")
        if base.endswith(path):
            path = ""
        end = path.find("/", 1)
        if end > 0 and base.endswith(path[:end]):
            path = path[end:]
        queries = "&".join(filter(None, (asked, query)))
        return f"{base}{path}?{queries}" if queries else base + path

    def key(self) -> str | None:
        """The key, read anew for each call, so that it can be rotated.

        Raises:
            MissingKeyError: the provider needs one and none is set.
        """
        if self._auth in self._fixed:
            return None  # the user wrote the header, and it stands
        key = self.model.api_key
        if key is None:
            for variable in self.provider.key_env:
                key = os.environ.get(variable)
                if key:
                    break
        key = key.strip() if key else None
        if key:
            if not _sendable(key):
                raise ConfigurationError(
                    f"{self.model.id}: the API key has characters that no header can carry"
                )
            return key
        if self.provider.signer is not None:
            if self.signer is None:
                self.signer = signer_for(self.provider.signer, self.model)
            return None
        if self.provider.local or not self.provider.key_env or "authorization" in self._fixed:
            return None  # or the user wrote another header than the provider's usual one
        raise MissingKeyError(
            f"{self.model.id} needs an API key: set {' or '.join(self.provider.key_env)} in the "
            "environment, or ModelConfig.api_key"
        )

    def headers(self, encoded: EncodedRequest, key: str | None) -> Mapping[str, str]:
        """Gives the headers to send. A codec's own are few and constant, so these are kept."""
        ready = self._ready
        if ready is None or ready[0] != key or ready[1] is not encoded.headers:
            headers = {**encoded.headers, **self._fixed}
            if key is not None:
                bearer = self.provider.auth == "bearer"
                headers[self._auth] = f"Bearer {key}" if bearer else key
            ready = self._ready = key, encoded.headers, headers
        return ready[2]

    def secrets(self) -> tuple[str, ...]:
        """Everything that no error's text may hold."""
        key = None if self._ready is None else self._ready[0]
        texts = [key, *map(str, self.model.headers.values())]
        if key is None and self.signer is not None:
            texts += self.signer.secrets()
        return tuple(text for text in texts if text and len(text) >= 4)  # noqa: PLR2004


def _sendable(value: str) -> bool:
    """Whether a header can carry a value."""
    return value.isascii() and value.isprintable()


def _user_agent() -> str:
    # The root package is there, or nothing of this would be; it may not be imported from below.
    return f"cascadeflow/{sys.modules['cascadeflow'].__version__}"
