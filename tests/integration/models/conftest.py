"""A stand-in of the providers, and their official clients for it."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest

from cometbot.event_loop import run_coroutine
from tests.integration.models.stand_ins import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    made = ModelServer()
    yield made
    made.close()


@pytest.fixture
def openai_client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(server: ModelServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0) as client:
        yield client


@pytest.fixture
def async_openai_client(server: ModelServer) -> Iterator[openai.AsyncOpenAI]:
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
    yield client
    run_coroutine(client.close())


@pytest.fixture
def async_anthropic_client(server: ModelServer) -> Iterator[anthropic.AsyncAnthropic]:
    client = anthropic.AsyncAnthropic(base_url=server.url, api_key="secret", max_retries=0)
    yield client
    run_coroutine(client.close())
