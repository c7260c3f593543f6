"""The providers, as data: where each is, which protocol it speaks, and how it departs from it.

A dialect is a record, not a class: one more OpenAI-compatible provider is one more entry here, or
one call of `register_provider` in the user's own code.
"""

from __future__ import annotations

from typing import Final

from cascadeflow.providers.registry import Provider, Quirks

__all__ = ["BUILT_IN"]

_OPENAI: Final = Quirks(max_tokens_field="max_completion_tokens", developer_role=True)

BUILT_IN: Final = (
    Provider(
        id="openai",
        base_url="https://api.openai.com/v1",
        env_urls=("{OPENAI_BASE_URL}",),
        key_env=("OPENAI_API_KEY",),
        quirks=_OPENAI,
    ),
    Provider(
        id="anthropic",
        protocol="anthropic",
        base_url="https://api.anthropic.com",
        env_urls=("{ANTHROPIC_BASE_URL}",),
        key_env=("ANTHROPIC_API_KEY",),
        auth="x-api-key",
        # The protocol demands a limit. 4,096 is the smallest output limit of its models.
        quirks=Quirks(default_max_tokens=4096),
    ),
    Provider(
        id="azure",
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        # With a dated version of the API, a deployment's name is in the path.
        env_urls=(
            "{AZURE_OPENAI_ENDPOINT}/openai/deployments/{model}?api-version={OPENAI_API_VERSION}",
        ),
        key_env=("AZURE_OPENAI_API_KEY",),
        auth="api-key",
        quirks=_OPENAI,
    ),
    Provider(
        id="baseten",
        base_url="https://inference.baseten.co/v1",
        key_env=("BASETEN_API_KEY",),
    ),
    Provider(
        id="cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_env=("CEREBRAS_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens",
            refuses=frozenset({"stream_options"}),
            reasoning_back="reasoning",
        ),
    ),
    Provider(
        id="cloudflare",
        base_url="https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1",
        key_env=("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_TOKEN"),
    ),
    Provider(
        id="crusoe",
        base_url="https://api.inference.crusoecloud.com/v1",
        key_env=("CRUSOE_API_KEY",),
    ),
    Provider(
        id="databricks",
        base_url="{DATABRICKS_HOST}/serving-endpoints",
        env_urls=("{DATABRICKS_API_BASE}",),
        key_env=("DATABRICKS_API_KEY", "DATABRICKS_TOKEN"),
    ),
    Provider(
        id="deepseek",
        base_url="https://api.deepseek.com",
        key_env=("DEEPSEEK_API_KEY",),
        quirks=Quirks(reasoning_back="reasoning_content"),
    ),
    Provider(
        id="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    ),
    Provider(
        id="groq",
        base_url="https://api.groq.com/openai/v1",
        key_env=("GROQ_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens", refuses=frozenset({"logprobs", "name"})
        ),
    ),
    Provider(
        id="huggingface",
        base_url="https://router.huggingface.co/v1",
        key_env=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    ),
    Provider(
        id="llamacpp",
        base_url="http://localhost:8080/v1",
        key_env=("LLAMA_API_KEY",),
        local=True,
        # It takes a choice in a word only, and an object for "auto".
        quirks=Quirks(names_tools=False),
    ),
    Provider(
        id="lmstudio",
        base_url="http://localhost:1234/v1",
        env_urls=("{LM_STUDIO_API_BASE}",),
        key_env=("LM_STUDIO_API_KEY",),
        local=True,
    ),
    Provider(
        id="meta",
        base_url="https://api.meta.ai/v1",
        key_env=("META_API_KEY",),
    ),
    Provider(
        id="minimax",
        base_url="https://api.minimax.io/v1",
        key_env=("MINIMAX_API_KEY",),
    ),
    Provider(
        id="mistral",
        base_url="https://api.mistral.ai/v1",
        key_env=("MISTRAL_API_KEY",),
        quirks=Quirks(
            required_choice="any",
            seed_field="random_seed",
            documents="document_url",
            call_id_length=9,
            refuses=frozenset({"logprobs", "name", "stream_options", "user"}),
        ),
    ),
    Provider(
        id="moonshotai",
        base_url="https://api.moonshot.ai/v1",
        env_urls=("{MOONSHOTAI_BASE_URL}",),
        key_env=("MOONSHOTAI_API_KEY", "MOONSHOT_API_KEY"),
        quirks=Quirks(reasoning_back="reasoning_content"),
    ),
    Provider(
        id="novita",
        base_url="https://api.novita.ai/v3/openai",
        key_env=("NOVITA_API_KEY",),
    ),
    Provider(
        id="ollama",
        base_url="http://localhost:11434/v1",
        env_urls=("{OLLAMA_BASE_URL}",),
        key_env=("OLLAMA_API_KEY",),
        local=True,
        quirks=Quirks(reasoning_back="reasoning"),
    ),
    Provider(
        id="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_env=("OPENROUTER_API_KEY",),
        quirks=Quirks(documents="inline_or_url"),
    ),
    Provider(
        id="ovhcloud",
        base_url="https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        key_env=("OVHCLOUD_API_KEY",),
    ),
    Provider(
        id="perplexity",
        base_url="https://api.perplexity.ai",
        key_env=("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY", "PPLX_API_KEY"),
        quirks=Quirks(refuses=frozenset({"logprobs", "stream_options"})),
    ),
    Provider(
        id="snowflake",
        base_url="https://{SNOWFLAKE_ACCOUNT}.snowflakecomputing.com/api/v2/cortex/v1",
        key_env=("SNOWFLAKE_TOKEN",),
    ),
    Provider(
        id="together",
        base_url="https://api.together.xyz/v1",
        key_env=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY"),
        quirks=Quirks(logprobs_as_count=True),
    ),
    Provider(
        id="vllm",
        base_url="http://localhost:8000/v1",
        env_urls=("{VLLM_BASE_URL}",),
        key_env=("VLLM_API_KEY",),
        local=True,
    ),
    Provider(id="xai", base_url="https://api.x.ai/v1", key_env=("XAI_API_KEY",)),
    Provider(
        id="zai",
        base_url="https://api.z.ai/api/paas/v4",
        key_env=("ZAI_API_KEY",),
        quirks=Quirks(reasoning_back="reasoning_content"),
    ),
    Provider(
        id="bedrock",
        protocol="bedrock",
        base_url="https://bedrock-runtime.{AWS_REGION|AWS_DEFAULT_REGION}.amazonaws.com",
        env_urls=("{AWS_ENDPOINT_URL_BEDROCK_RUNTIME}",),
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        signer="aws-sigv4",
    ),
    Provider(
        id="cohere",
        protocol="cohere",
        base_url="https://api.cohere.com",
        env_urls=("{CO_API_URL}",),
        key_env=("COHERE_API_KEY", "CO_API_KEY"),
    ),
    Provider(
        id="gemini",
        protocol="gemini",
        base_url="https://generativelanguage.googleapis.com",
        env_urls=("{GOOGLE_GEMINI_BASE_URL}",),
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        auth="x-goog-api-key",
    ),
    Provider(
        id="openai-responses",
        protocol="openai-responses",
        base_url="https://api.openai.com/v1",
        env_urls=("{OPENAI_BASE_URL}",),
        key_env=("OPENAI_API_KEY",),
        quirks=Quirks(developer_role=True),
    ),
    Provider(
        id="vertex",
        protocol="vertex",
        base_url=(
            "https://{GOOGLE_CLOUD_LOCATION:global}-aiplatform.googleapis.com/v1/projects/"
            "{GOOGLE_CLOUD_PROJECT}/locations/{GOOGLE_CLOUD_LOCATION:global}"
        ),
        env_urls=(
            (
                "{GOOGLE_VERTEX_BASE_URL}/v1/projects/{GOOGLE_CLOUD_PROJECT}/locations/"
                "{GOOGLE_CLOUD_LOCATION:global}"
            ),
        ),
        key_env=("VERTEX_ACCESS_TOKEN",),
        signer="google-oauth",
    ),
)
