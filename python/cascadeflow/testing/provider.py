"""The simulated provider: a loopback HTTP server that speaks the protocols of real ones."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cascadeflow.clock import SystemClock
from cascadeflow.errors import ConfigurationError
from cascadeflow.testing.behaviour import Behaviour
from cascadeflow.testing.forms import UNASKED
from cascadeflow.testing.journal import Journal
from cascadeflow.testing.server import LoopbackServer
from cascadeflow.testing.site import STATS_PATH, ProviderSite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from cascadeflow.clock import Clock
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.testing.journal import SimulatedRequest, SimulatedStats
    from cascadeflow.testing.model import SimulatedModel

__all__ = ["STATS_PATH", "SimulatedProvider", "model_configs"]

DUMMY_KEY: Final = "simulated-key"
"""What `models_for` gives as API key where the provider asks for none in particular."""

_BASES: Final = {
    "openai": "/v1",
    "openai-responses": "/v1",
    "vertex": "/v1/projects/simulated/locations/global",
}
"""What stands between the address and the path that a codec writes, by protocol."""


class SimulatedProvider:
    """A provider on this machine, with models that are as good, as fast and as reliable as told.

    It speaks HTTP/1.1 on a loopback address: `POST …/chat/completions` and `POST …/responses` in
    OpenAI's forms, `POST …/messages` in Anthropic's, `POST …/models/MODEL:generateContent` in that
    of Gemini and Vertex, `POST …/model/MODEL/converse` in Bedrock's and `POST …/v2/chat` in
    Cohere's, all with streams, and `GET …/models`; the paths may stand behind any prefix. Behind
    `/usage-unasked`, streams of chat completions end with their usage unasked, as Mistral's do.
    Every model answers in all forms.

    What it does is decided by its seed and the request, never by the order or the number of
    requests at once: the same seed and the same request give the same answer, latency, error or
    broken stream. When the *same* request (path's protocol and body, byte by byte) comes again,
    its latency, its errors and its broken streams are drawn again, so that a retry can succeed; its
    answer is the same, unless it states a temperature above 0 and no seed. Only rate limits count
    requests as they come.

    Used as `async with SimulatedProvider([…]) as server:`, or in a thread of its own with `with
    SimulatedProvider([…]).start_in_thread() as server:`. `cascadeflow.testing.simulator` runs it in
    a process of its own.
    """

    def __init__(
        self,
        models: Iterable[SimulatedModel],
        *,
        seed: int = 0,
        clock: Clock | None = None,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body: int = 16 * 1024 * 1024,
        keep_requests: int | None = 10_000,
    ) -> None:
        """Sets the provider up; it listens once it is entered.

        Args:
            models: what it serves, each under a name of its own.
            seed: decides everything that is drawn; at least 0.
            clock: what latencies are waited on and times are read from; the machine's own unless
                told. With a `ManualClock` nothing waits.
            api_key: the only key it takes; `None` takes any, and none. A request that Amazon's
                way signs has it as the id of its access key; the signature is not checked.
            host: the address it listens on.
            port: the port it listens on; 0 takes any free one.
            max_body: the largest request body in bytes; a larger one gets a 413.
            keep_requests: how many of the newest requests `requests` holds; `None`: all.

        Raises:
            ConfigurationError: two models of one name, or a negative seed.
        """
        if seed < 0:
            raise ConfigurationError(f"SimulatedProvider.seed must be at least 0, not {seed}")
        self._seed = seed
        self._host = host
        self._api_key = api_key
        self._models: dict[str, SimulatedModel] = {}
        for model in models:
            if model.name in self._models:
                raise ConfigurationError(
                    f"two simulated models are called {model.name!r}: give each its own name"
                )
            self._models[model.name] = model
        self._journal = Journal(keep=keep_requests)
        clock = clock or SystemClock()
        site = ProviderSite(
            {name: self._behaviour(model) for name, model in self._models.items()},
            seed=seed,
            clock=clock,
            api_key=api_key,
            journal=self._journal,
            stats=lambda: self.stats,
        )
        self._server = LoopbackServer(site, clock=clock, host=host, port=port, max_body=max_body)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._models)}; seed={self._seed})"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._server.aclose()

    @contextmanager
    def start_in_thread(self) -> Iterator[Self]:
        """Runs it on an event loop of its own, in a thread of its own, for code that is not async.

        Raises:
            ConfigurationError: it runs already.
            StoreError: the address cannot be listened on.
        """
        with self._server.running_in_thread():
            yield self

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            ConfigurationError: it is not running.
        """
        return self._server.port

    @property
    def url(self) -> str:
        """Its address without a path, such as `http://127.0.0.1:41234`: the Anthropic SDK's base.

        Raises:
            ConfigurationError: it is not running.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Its address with `/v1`: the OpenAI SDK's base.

        Raises:
            ConfigurationError: it is not running.
        """
        return f"{self.url}/v1"

    @property
    def requests(self) -> tuple[SimulatedRequest, ...]:
        """The newest requests whose response has ended, in the order of arrival."""
        return self._journal.requests()

    @property
    def stats(self) -> SimulatedStats:
        """Counts of everything since the start."""
        return self._journal.stats(
            connections=self._server.connections_accepted,
            open_connections=self._server.open_connections,
        )

    def models_for(self, provider: str, *names: str) -> tuple[ModelConfig, ...]:
        """Gives the models as an agent takes them, reached over this server.

        Args:
            provider: under which provider's id, which decides the protocol: any that is registered.
            names: which models, in this order; all of them without names.

        Raises:
            ConfigurationError: it is not running, has no model of such a name, or nobody registered
                the provider.
        """
        return model_configs(self._models, provider, names, url=self.url, api_key=self._api_key)

    def _behaviour(self, model: SimulatedModel) -> Behaviour:
        return Behaviour(model, seed=self._seed)


def model_configs(
    models: Mapping[str, SimulatedModel],
    provider: str,
    names: Sequence[str],
    *,
    url: str,
    api_key: str | None,
) -> tuple[ModelConfig, ...]:
    """Gives simulated models as an agent takes them.

    Raises:
        ConfigurationError: there is no model of one of the names, or no such provider.
    """
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415 - only needed here
    from cascadeflow.providers.registry import get_provider  # noqa: PLC0415

    unknown = [name for name in names if name not in models]
    if unknown:
        raise ConfigurationError(
            f"the simulated provider has no model {', '.join(unknown)}: it has {', '.join(models)}"
        )
    record = get_provider(provider)
    path = _BASES.get(record.protocol, "")
    if record.protocol == "openai" and "stream_options" in record.quirks.refuses:
        path = UNASKED + path
    return tuple(
        ModelConfig(
            name,
            provider,
            price=models[name].price,
            api_key=api_key or DUMMY_KEY,
            base_url=url + path,
        )
        for name in names or models
    )
