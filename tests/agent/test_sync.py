"""`run_sync` with and without a loop, from threads and after a fork."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CostTracker, agent_sync
from cascadeflow.agent import CascadeAgent
from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.prices import Price
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = [
    SimulatedModel("small", price=Price(input=1, output=2)),
    SimulatedModel("big", price=Price(input=10, output=30)),
]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture
def server() -> Iterator[SimulatedProvider]:
    with SimulatedProvider(MODELS).start_in_thread() as running:
        yield running


def test_it_answers_without_a_loop_and_reuses_its_connection(server: SimulatedProvider) -> None:
    with CascadeAgent(server.models_for("openai")) as agent:
        contents = {agent.run_sync("What is the capital of Norway?").content for _ in range(3)}
    assert len(contents) == 1
    assert server.stats.requests >= 3
    assert server.stats.connections == 1


def test_it_answers_inside_a_running_loop(server: SimulatedProvider) -> None:
    agent = CascadeAgent(server.models_for("openai"))

    async def main() -> tuple[str, str]:
        blocking = agent.run_sync("What is the capital of Norway?").content
        async with agent:
            return blocking, (await agent.run("What is the capital of Norway?")).content

    with agent:
        blocking, awaited = asyncio.run(main())
    assert blocking == awaited


def test_its_options_are_those_of_run(server: SimulatedProvider) -> None:
    with CascadeAgent(server.models_for("openai")) as agent:
        result = agent.run_sync(
            messages=[{"role": "user", "content": "Hello?"}], max_tokens=5, model="big"
        )
    assert result.model_used == "big"
    assert result.budget.max_tokens_sent == {"openai:big": 5}
    with pytest.raises(InvalidRequestError):
        agent.run_sync("")


def test_many_threads_share_one_agent(server: SimulatedProvider) -> None:
    agent = CascadeAgent(server.models_for("openai"))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(agent.run_sync(f"Question {i}?")))
        for i in range(12)
    ]
    with agent:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({answer.request_id for answer in answers}) == 12


def test_several_loops_share_one_agent(server: SimulatedProvider) -> None:
    agent = CascadeAgent(server.models_for("openai"))
    for _ in range(3):
        # Each loop is closed with its connections, without anybody closing the agent.
        assert asyncio.run(agent.run("What is the capital of Norway?")).content


def test_called_on_its_own_loop_it_refuses_to_wait_for_itself(server: SimulatedProvider) -> None:
    raised: list[BaseException] = []

    def nested(event: object) -> None:
        if type(event).__name__ == "RequestStarted" and not raised:
            try:
                agent.run_sync("Again?")
            except RuntimeError as error:
                raised.append(error)

    with CascadeAgent(server.models_for("openai"), on_event=nested) as agent:
        agent.run_sync("Hello?")
    assert "await run() instead" in str(raised[0])


def test_a_loop_thread_that_ends_closes_what_runs_on_it() -> None:
    thread = agent_sync.LoopThread()
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def start() -> None:
        tasks.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    tasks: list[Any] = []
    thread.run(start())
    thread.stop()
    assert ended == ["cancelled"]
    assert tasks[0].cancelled()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_answers_with_connections_of_its_own(server: SimulatedProvider) -> None:
    agent = CascadeAgent(server.models_for("openai"))
    agent.run_sync("Before the fork?")  # the parent has a loop thread and a connection
    before = server.stats.connections
    child = os.fork()
    if child == 0:
        status = 1
        try:
            first = agent.run_sync("In the child?").content
            second = asyncio.run(agent.run("In the child?")).content
            status = 0 if first == second else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.stats.connections > before
    in_parent = server.stats.connections
    with agent:
        agent.run_sync("After the fork?")
    assert server.stats.connections == in_parent  # the parent's connection still works


@needs_fork
def test_a_preloading_server_may_fork_after_asking(server: SimulatedProvider) -> None:
    """As gunicorn does with --preload: made and used in the master, then forked into workers."""
    script = textwrap.dedent(
        """
        import asyncio, json, os, sys
        from cascadeflow import CascadeAgent, ModelConfig
        from cascadeflow.models.prices import Price

        url = sys.argv[1]
        prices = {"small": Price(input=1, output=2), "big": Price(input=9, output=9)}
        agent = CascadeAgent([
            ModelConfig(name, "openai", price=price, base_url=url, api_key="k")
            for name, price in prices.items()
        ])
        asyncio.run(agent.run("warm up?"))
        agent.run_sync("warm up?")
        workers = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                result = agent.run_sync("in a worker?")
                asyncio.run(agent.run("in a worker?"))
                os.write(1, f"{result.content}\\n".encode())  # at once: three write
                sys.exit(0 if result.cost.total > 0 else 1)
            workers.append(pid)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
        agent.run_sync("still here?")
        sys.exit(max(codes))
        """
    )
    finished = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            script,
            server.base_url,
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert len(set(finished.stdout.split("\n"))) == 2  # three equal answers and the last line's end
    assert finished.stderr == ""


def test_a_tool_that_ends_the_program_ends_its_caller_and_not_the_loop_of_all(world: Any) -> None:
    def leave() -> None:
        raise SystemExit(3)

    call = {"text": "", "calls": (("c1", "leave", "{}"),), "finish": "tool_calls"}
    tracker = CostTracker(global_budget=1, enforcement_mode="block")
    agent = world(big=[call]).agent("big", cost_tracker=tracker)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            agent.run_sync("Go?", tools=[leave], tool_executor=True, max_tokens=100)
        assert ended.value.code == 3
    (account,) = tracker.accounts("global")
    assert account.held == 0
    assert account.spent == 2 * 2_500_000
    assert world(big=["Oslo"]).agent("big").run_sync("Where is Oslo?").content == "Oslo"
