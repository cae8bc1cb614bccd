// Ten seconds of a few callers, cached and uncached, held against benchmarks/budgets.json:
//
//     k6 run --no-usage-report k6/smoke.js
//
// SEIKETSU_URL and SEIKETSU_KEY choose another gateway than http://127.0.0.1:8000 without keys.

import { check } from "k6";
import { budgets, freshSentence, requireReady, speak, spoken, tail, trendStats } from "./lib.js";

const GREETING = "Welcome! How can I help you today?";
const SECONDS = Number(__ENV.SMOKE_SECONDS || 10);
const CACHED_RATE = 260; // what three callers ask for who wait for each reply and a moment more

export const options = {
  scenarios: {
    cached: {
      executor: "constant-arrival-rate",
      rate: CACHED_RATE,
      timeUnit: "1s",
      duration: `${SECONDS}s`,
      preAllocatedVUs: 50,
      exec: "cached",
    },
    uncached: { executor: "constant-vus", vus: 1, duration: `${SECONDS}s`, exec: "uncached" },
  },
  thresholds: {
    checks: ["rate==1"],
    spoken: ["rate==1"],
    http_req_failed: ["rate==0"],
    dropped_iterations: ["count==0"],
    first_audio_cached_ms: [`${tail(CACHED_RATE * SECONDS)}<${budgets.first_audio_ms.cached_p99}`],
    first_audio_uncached_ms: [`max<${budgets.first_audio_ms.promise}`], // one caller: some dozens
    whole_reply_uncached_ms: [`p(95)<${budgets.whole_reply_ms.cold_50_p95}`],
  },
  summaryTrendStats: trendStats(CACHED_RATE * SECONDS),
};

export function setup() {
  requireReady();
  speak(GREETING, "uncached"); // from here on it is cached
}

function verify(reply) {
  const ok = check(reply, {
    "status is 200": (r) => r.status === 200,
    "content type is audio/mpeg": (r) => r.headers["Content-Type"] === "audio/mpeg",
    "body is an MP3 stream": (r) => {
      const head = new Uint8Array(r.body.slice(0, 2));
      return r.body.byteLength > 4000 && head[0] === 0xff && (head[1] & 0xe0) === 0xe0;
    },
  });
  spoken.add(ok);
}

export function cached() {
  const reply = speak(GREETING, "cached");
  verify(reply);
  check(reply, { "came from the cache": (r) => r.headers["X-Cached"] === "true" });
}

export function uncached() {
  verify(speak(freshSentence(__VU, __ITER), "uncached"));
}
