"""LiteLLM's proxy in an environment of its own: `python litellm_proxy.py FOLDER PORT UPSTREAM`.

Makes the environment in FOLDER, installs what `litellm-proxy.txt` pins, and becomes the proxy. Some
of its models answer with mock responses; for others it asks a provider on the port UPSTREAM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KEY = "sk-proxy-0123456789"


TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
}


def config(upstream: str) -> dict[str, object]:
    """What the proxy serves."""

    def model(name: str, **settings: object) -> dict[str, object]:
        settings = {"model": "openai/gpt-4.1-mini", "api_key": "none", **settings}
        return {"model_name": name, "litellm_params": settings}

    there = f"http://127.0.0.1:{upstream}"
    return {
        "model_list": [
            model("text", mock_response="Paris, of course."),
            model("json", mock_response='{"city": "Oslo"}'),
            model("tools", mock_response="", mock_tool_calls=[TOOL_CALL]),
            model("busy", mock_response="litellm.RateLimitError"),
            model("broken", mock_response="litellm.InternalServerError"),
            model("long", mock_response="litellm.ContextWindowExceededError"),
            model("openai-behind", model="openai/small", api_base=f"{there}/v1"),
            model("anthropic-behind", model="anthropic/small", api_base=there),
        ],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def main(folder: Path, port: str, upstream: str) -> None:
    if hasattr(os, "nice"):
        os.nice(10)  # it begins while other tests run
    environment = folder / "venv"
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(environment)], check=True)
    subprocess.run(
        [*uv, "pip", "install", "-q", "-p", str(python), "-r", str(HERE / "litellm-proxy.txt")],
        check=True,
    )
    settings = folder / "config.yaml"
    settings.write_text(json.dumps(config(upstream)))  # JSON is YAML
    kept = ("PATH", "SYSTEMROOT", "TMPDIR", "LANG")
    os.execve(  # noqa: S606 - no shell is wanted
        python,
        [
            str(python),
            "-c",
            "import sys, litellm; sys.argv[0] = 'litellm'; sys.exit(litellm.run_server())",
            *("--config", str(settings), "--host", "127.0.0.1", "--port", port),
        ],
        {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(folder),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
