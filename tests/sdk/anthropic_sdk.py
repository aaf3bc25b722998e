"""The official Anthropic SDK, unchanged, against the router: for Anthropic's models and for those of others.

Run by tests/tests/sdk.rs with TIDEMARK_URL and TIDEMARK_KEY; prints the number of requests it made.
"""
import os

import anthropic

URL, KEY = os.environ["TIDEMARK_URL"], os.environ["TIDEMARK_KEY"]
requests = 0


class Transport(anthropic.DefaultHttpxClient):
    """Counts what goes over the wire."""

    def send(self, request, **more):
        global requests
        requests += request.method == "POST"
        return super().send(request, **more)


client = anthropic.Anthropic(base_url=URL, api_key=KEY, http_client=Transport(), max_retries=0, timeout=30)
TOOLS = [{"name": "get_weather", "description": "Weather of a city", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


def expect(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}")


def text_of(message):
    """The text of an answer, without what was thought before it."""
    return "".join(block.text for block in message.content if block.type == "text")


for model in ["anthropic/claude-sonnet-4.5", "openai/gpt-4o", "google/gemini-2.5-flash"]:
    ask = {"model": model, "max_tokens": 400, "system": "Be short."}
    whole = client.messages.create(**ask, messages=[{"role": "user", "content": "[sim: ok tokens=12]"}])
    assert text_of(whole) and whole.stop_reason == "end_turn", whole
    assert whole.usage.input_tokens > 0 and whole.usage.output_tokens > 0, whole

    with client.messages.stream(**ask, messages=[{"role": "user", "content": [{"type": "text", "text": "[sim: ok tokens=40]"}]}]) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert len(text.split()) >= 20 and text_of(final) == text and final.usage.output_tokens >= 20, (text, final)

    called = client.messages.create(**ask, messages=[{"role": "user", "content": "[sim: ok]"}], tools=TOOLS, tool_choice={"type": "any"})
    use = next(block for block in called.content if block.type == "tool_use")
    assert called.stop_reason == "tool_use" and "city" in use.input, called
    with client.messages.stream(**ask, messages=[{"role": "user", "content": "[sim: ok]"}], tools=TOOLS, tool_choice={"type": "any"}) as stream:
        streamed = stream.get_final_message()
    assert streamed.stop_reason == "tool_use" and any(block.type == "tool_use" and "city" in block.input for block in streamed.content), streamed
    after = client.messages.create(**ask, tools=TOOLS, messages=[
        {"role": "user", "content": "[sim: ok]"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "7 degrees"}]},
    ])
    assert text_of(after), after
    short = client.messages.create(**{**ask, "max_tokens": 20}, messages=[{"role": "user", "content": "[sim: length tokens=50]"}])
    assert short.stop_reason == "max_tokens", short

# Not every provider of the model has an API with words for a refusal.
declined = client.messages.create(model="anthropic/claude-sonnet-4.5", max_tokens=50, messages=[{"role": "user", "content": "[sim: refuse]"}],
                                  extra_body={"provider": {"only": ["anthropic"]}})
assert declined.stop_reason == "refusal", declined
expect(anthropic.NotFoundError, lambda: client.messages.create(model="anthropic/claude-sonet", max_tokens=5, messages=[{"role": "user", "content": "x"}]))
expect(anthropic.BadRequestError, lambda: client.messages.create(model="openai/gpt-4o", max_tokens=5, messages=[]))
expect(anthropic.AuthenticationError, lambda: anthropic.Anthropic(base_url=URL, api_key="sk-tidemark-unknown", http_client=client._client, max_retries=0).messages.create(model="openai/gpt-4o", max_tokens=5, messages=[{"role": "user", "content": "x"}]))
print(requests)
