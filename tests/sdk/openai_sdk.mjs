// The official OpenAI SDK for Node, unchanged, against the router and its simulated providers.
// Run by tests/tests/sdk.rs with TIDEMARK_URL and TIDEMARK_KEY; prints the number of requests it made.
import assert from "node:assert/strict";
import OpenAI from "openai";

let requests = 0;
const counted = (url, init) => {
  requests += init?.method?.toUpperCase() === "POST" ? 1 : 0;
  return fetch(url, init);
};
const client = new OpenAI({ baseURL: process.env.TIDEMARK_URL + "/v1", apiKey: process.env.TIDEMARK_KEY, maxRetries: 0, fetch: counted });
const tools = [{ type: "function", function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];
const user = (content) => [{ role: "user", content }];

for (const model of ["openai/gpt-4o", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash"]) {
  const whole = await client.chat.completions.create({ model, messages: user("[sim: ok tokens=12]") });
  assert.equal(whole.model, model);
  assert.ok(whole.choices[0].message.content && whole.usage.completion_tokens > 0);

  const stream = client.chat.completions.stream({ model, messages: user("[sim: ok tokens=40]"), stream_options: { include_usage: true } });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, text);
  assert.ok((await stream.totalUsage()).completion_tokens >= 20);

  const called = await client.chat.completions.create({ model, messages: user("[sim: ok]"), tools, tool_choice: "required" });
  assert.ok("city" in JSON.parse(called.choices[0].message.tool_calls[0].function.arguments));
}
await assert.rejects(client.chat.completions.create({ model: "openai/gtp-4o", messages: user("x") }), OpenAI.NotFoundError);

// A client that aborts in the middle.
const abort = new AbortController();
const cut = await client.chat.completions.create({ model: "openai/gpt-4o", messages: user("[sim: ok tokens=500 chunk-ms=5]"), stream: true }, { signal: abort.signal });
let seen = 0;
for await (const chunk of cut) if (++seen === 5) abort.abort();
console.log(requests);
