"""OpenTelemetry's own SDK and its instrumentation of the OpenAI SDK, exporting to /v1/traces.

Run by tests/tests/sdk.rs with TIDEMARK_URL, TIDEMARK_KEY and PROVIDERS_URL. Asks providers past the router, so that only the spans tell of it,
and through the router, which counts for itself. Prints what the client saw of the former.
"""
import json
import os

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

URL, KEY = os.environ["TIDEMARK_URL"], os.environ["TIDEMARK_KEY"]
CANARY = "canary prompt 7f3a"
exporter = OTLPSpanExporter(endpoint=URL + "/v1/traces", headers={"authorization": "Bearer " + KEY}, compression=Compression.Gzip)
provider = TracerProvider(resource=Resource.create({"service.name": "Tide Table"}))
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument()
tracer = trace.get_tracer("agent")

direct = openai.OpenAI(base_url=os.environ["PROVIDERS_URL"] + "/openai/v1", api_key="none", max_retries=0)
routed = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
seen = {"requests": 0, "errors": 0, "prompt": 0, "completion": 0}


def messages(words):
    return [{"role": "user", "content": f"{CANARY} [sim: {words}]"}]


def count(usage):
    seen["requests"] += 1
    seen["prompt"] += usage.prompt_tokens
    seen["completion"] += usage.completion_tokens


# An agent around its requests: not a request of its own, whatever totals it states.
with tracer.start_as_current_span("invoke_agent tide", attributes={
    "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 10**6, "gen_ai.usage.output_tokens": 10**6, "gen_ai.input.messages": CANARY,
}):
    for n in range(1, 6):
        count(direct.chat.completions.create(model="gpt-4o", messages=messages(f"ok tokens={10 * n}")).usage)
    with tracer.start_as_current_span("execute_tool clock", attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": CANARY}):
        pass
usage = None
for chunk in direct.chat.completions.create(model="gpt-4o", messages=messages("ok tokens=30"), stream=True, stream_options={"include_usage": True}):
    usage = chunk.usage or usage
count(usage)
try:
    direct.chat.completions.create(model="gpt-4o", messages=messages("429"))
    raise AssertionError("no error")
except openai.RateLimitError:
    seen["errors"] += 1
for _ in range(3):
    routed.chat.completions.create(model="openai/gpt-4o", messages=messages("ok tokens=5"))
provider.shutdown()
print(json.dumps(seen))
