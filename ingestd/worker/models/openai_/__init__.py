"""Descriptions from a server that speaks the OpenAI API: vLLM, llama.cpp, Ollama and others; ``openai:URL#model``.

``keys`` finds the key; ``meaning`` says what a request asks and what a reply means (pure); ``patience`` decides when a
request is sent again (pure); ``client`` sends them; ``family`` is what the registry and the pipeline see.
"""

from ingestd.worker.models.openai_.provider import PROVIDER

__all__ = ["PROVIDER"]
