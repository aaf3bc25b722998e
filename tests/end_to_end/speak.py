"""speak.py URL KEY N: N chats with OpenAI's SDK, every third as a stream; prints how many and the tokens that the SDK was told."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

url, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = OpenAI(base_url=url, api_key=key)
MODELS = ["openai/gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5"]


def speak(n):
    asked = {"model": MODELS[n % len(MODELS)], "messages": [{"role": "user", "content": f"What is {n} plus one?"}]}
    if n % 3:
        return client.chat.completions.create(**asked).usage.total_tokens
    usage = 0
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage.total_tokens if chunk.usage else usage
    return usage


with ThreadPoolExecutor(8) as pool:
    tokens = list(pool.map(speak, range(count)))
print(json.dumps({"requests": len(tokens), "tokens": sum(tokens)}))
