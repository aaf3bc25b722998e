"""The official OpenAI SDK, unchanged, against the router and its simulated providers.

Run by tests/tests/sdk.rs with TIDEMARK_URL and TIDEMARK_KEY; prints the number of requests it made, so that the test can count
events. Every model is of another dialect upstream; what the client sees must not differ.
"""
import json
import os
import time

import openai
from pydantic import BaseModel

URL, KEY = os.environ["TIDEMARK_URL"] + "/v1", os.environ["TIDEMARK_KEY"]
MODELS = ["openai/gpt-4o", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash", "deepseek/deepseek-chat-v3.1"]
TEXT_ONLY = ["deepseek/deepseek-chat-v3.1"]
requests = 0


class Transport(openai.DefaultHttpxClient):
    """Counts what goes over the wire, retries included."""

    def send(self, request, **more):
        global requests
        requests += request.method == "POST"
        return super().send(request, **more)


client = openai.OpenAI(base_url=URL, api_key=KEY, http_client=Transport(), max_retries=0, timeout=30)
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "get_time", "description": "Time of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}},
]


def user(text):
    return [{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]


def expect(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


available = {model.id for model in client.models.list()}
models = [model for model in MODELS if model in available]
assert len(models) >= 3, sorted(available)[:20]

for model in models:
    whole = client.chat.completions.create(model=model, messages=user("[sim: ok tokens=12]"))
    assert whole.model == model and whole.id.startswith("gen-"), whole
    assert whole.choices[0].message.content and whole.choices[0].finish_reason == "stop", whole
    assert whole.usage.prompt_tokens > 0 and whole.usage.completion_tokens > 0, whole

    text, usage, finish = "", None, None
    for chunk in client.chat.completions.create(model=model, messages=user("[sim: ok tokens=40]"), stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        usage = chunk.usage or usage
    assert len(text.split()) >= 20 and finish == "stop" and usage.completion_tokens >= 20, (text, finish, usage)

    called = client.chat.completions.create(model=model, messages=user("[sim: ok]"), tools=TOOLS, tool_choice="required")
    calls = called.choices[0].message.tool_calls
    assert called.choices[0].finish_reason == "tool_calls" and calls, called
    assert all("city" in json.loads(call.function.arguments) and call.id for call in calls), calls

    # Streamed calls, put together by the SDK's own helper, and the round trip with their results.
    with client.chat.completions.stream(model=model, messages=user("[sim: ok]"), tools=TOOLS, tool_choice="required") as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls and json.loads(message.tool_calls[0].function.arguments)["city"] is not None, message
    results = [{"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 7}'} for call in message.tool_calls]
    after = client.chat.completions.create(model=model, tools=TOOLS, messages=[*user("[sim: ok tokens=8]"), message.model_dump(exclude_none=True, exclude={"parsed", "audio", "annotations", "function_call"}), *results])
    assert after.choices[0].message.content, after

    image = [{"role": "user", "content": [{"type": "text", "text": "What is this? [sim: ok tokens=5]"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]
    if model in TEXT_ONLY:
        told = expect(openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=image))
        assert "does not take the kinds of input" in str(told), told
    else:
        assert client.chat.completions.create(model=model, messages=image).choices[0].message.content

    short = client.chat.completions.create(model=model, messages=user("[sim: length tokens=50]"), max_tokens=20)
    assert short.choices[0].finish_reason == "length", short


class Person(BaseModel):
    name: str
    age: int


for model in models:
    parsed = client.chat.completions.parse(model=model, messages=user("[sim: ok]"), response_format=Person)
    assert isinstance(parsed.choices[0].message.parsed, Person), parsed

vectors = client.embeddings.create(model="openai/text-embedding-3-small", input=["one", "two"])
assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 8, vectors

declined = client.chat.completions.create(model="openai/gpt-4o", messages=user("[sim: refuse]"))
assert declined.choices[0].message.refusal, declined

assert expect(openai.NotFoundError, lambda: client.chat.completions.create(model="openai/gtp-4o", messages=user("x"))).body["metadata"]["suggestions"][0] == "openai/gpt-4o"
assert expect(openai.BadRequestError, lambda: client.chat.completions.create(model="openai/gpt-4o", messages=[])).param == "messages"
expect(openai.BadRequestError, lambda: client.chat.completions.create(model="openai/gpt-4o", messages=user("x"), tools=[{"type": "function", "function": {"name": "a", "parameters": {"type": "strin"}}}]))
only = {"extra_body": {"provider": {"only": ["openai"]}}}
limited = expect(openai.RateLimitError, lambda: client.chat.completions.create(model="openai/gpt-4o", messages=user("[sim: 429 retry-after=3]"), **only))
assert limited.response.headers["retry-after"] == "3", limited.response.headers
time.sleep(3.2)  # the provider is left alone for as long as it has asked for
expect(openai.InternalServerError, lambda: client.chat.completions.create(model="openai/gpt-4o", messages=user("[sim: 500]"), **only))

# The SDK's own retries: three tries, three events.
before = requests
expect(openai.InternalServerError, lambda: client.with_options(max_retries=2).chat.completions.create(model="openai/gpt-4o", messages=user("[sim: 503]"), **only))
assert requests - before == 3, requests - before

broken = expect(openai.APIError, lambda: list(client.chat.completions.create(model="openai/gpt-4o", messages=user("[sim: cut=5 tokens=50]"), stream=True)))
assert not isinstance(broken, openai.APIConnectionError), "a broken stream ends with an error that says so, not with a broken connection"
stranger = openai.OpenAI(base_url=URL, api_key="sk-tidemark-unknown", http_client=client._client, max_retries=0)
expect(openai.AuthenticationError, lambda: stranger.chat.completions.create(model="openai/gpt-4o", messages=user("x")))
print(requests)
