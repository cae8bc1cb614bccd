// What every k6 script shares: where the gateway is, the budgets, and how one request is made.

import http from "k6/http";
import { Rate, Trend } from "k6/metrics";

export const budgets = JSON.parse(open("../benchmarks/budgets.json"));

const BASE = __ENV.SEIKETSU_URL || "http://127.0.0.1:8000";
const KEY = __ENV.SEIKETSU_KEY || "";
const SPEAK = `${BASE}/api/v1/voice/streaming/synthesize/streaming`;

// k6 sees bytes, not samples: the gateway sends no byte before the first audible piece, so the first
// byte of the body stands for the first audio here. The listener of benchmarks/ decodes and is exact.
export const firstAudio = {
  cached: new Trend("first_audio_cached_ms", true),
  uncached: new Trend("first_audio_uncached_ms", true),
};
export const wholeReply = {
  cached: new Trend("whole_reply_cached_ms", true),
  uncached: new Trend("whole_reply_uncached_ms", true),
};
export const spoken = new Rate("spoken");

function speakHeaders() {
  const headers = { "Content-Type": "application/json" };
  if (KEY) headers["Authorization"] = `Bearer ${KEY}`;
  return headers;
}

// A p99 of fewer samples would be one of the worst by chance: their worst is gated instead
// (`ENOUGH_FOR_P99` of benchmarks/stats.py). The name stands in the threshold, and so in the summary.
const ENOUGH_FOR_P99 = 2000;
export function tail(samples) {
  return samples >= ENOUGH_FOR_P99 ? "p(99)" : "max";
}

// What the summary tells of each time where so many samples are taken of the one with the fewest.
export function trendStats(samples) {
  return ["med", "p(95)", ...(tail(samples) === "max" ? [] : ["p(99)"]), "max", "count"];
}

// Speaks `text` over REST streaming. `kind` is "cached" or "uncached" and chooses the metrics.
export function speak(text, kind) {
  const headers = speakHeaders();
  const body = JSON.stringify({
    text,
    voice_agent_id: "agent_123",
    language: "en",
    format: "mp3",
  });
  const reply = http.post(SPEAK, body, {
    headers,
    responseType: "binary",
    timeout: "15s",
    tags: { kind },
  });
  firstAudio[kind].add(reply.timings.waiting);
  wholeReply[kind].add(reply.timings.duration);
  return reply;
}

// Has every body spoken, ten at once, so that it is cached; their times are not counted.
export function speakAll(bodies) {
  const params = { headers: speakHeaders(), responseType: "none", timeout: "15s" };
  for (let done = 0; done < bodies.length; done += 10) {
    const some = bodies.slice(done, done + 10);
    const asked = some.map((body) => [
      "POST",
      SPEAK,
      JSON.stringify({ voice_agent_id: "agent_123", ...body }),
      params,
    ]);
    for (const reply of http.batch(asked))
      if (reply.status !== 200) throw new Error(`a text was not spoken: status ${reply.status}`);
  }
}

// The address of a session and what opens it; `query` begins with "&".
export function sessionUrl(id, query) {
  const socket = BASE.replace(/^http/, "ws");
  return `${socket}/api/v1/voice/streaming/stream/${id}?voice_agent_id=agent_123${query}`;
}
export function sessionHeaders() {
  return KEY ? { Authorization: `Bearer ${KEY}` } : {};
}

// A sentence that no run has asked for before, of about ten words.
const STREETS = ["Maple", "Cedar", "Birch", "Walnut", "Willow", "Aspen", "Poplar", "Juniper"];
export function freshSentence(vu, iteration) {
  const street = STREETS[(vu * 3 + iteration) % STREETS.length];
  const number = 100 + Math.floor(Math.random() * 899_900);
  return `The house at ${number} ${street} Street is open for visits on Sunday.`;
}

// Readiness, once, before the load begins: a gateway that is not there fails the run.
export function requireReady() {
  const reply = http.get(`${BASE}/health/ready`, { timeout: "5s" });
  if (reply.status !== 200) throw new Error(`${BASE} is not ready: status ${reply.status}`);
}
