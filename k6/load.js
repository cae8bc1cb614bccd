// Callers at a constant rate, mostly of common sentences, some of new ones, held against
// benchmarks/budgets.json:
//
//     k6 run --no-usage-report k6/load.js
//
// LOAD_RATE (requests a second), LOAD_FRESH (share of new texts) and LOAD_SECONDS change the load;
// SEIKETSU_URL and SEIKETSU_KEY choose the gateway. A rate that arrives whether replies come or not
// shows queues that a fixed number of callers would hide.

import { check } from "k6";
import exec from "k6/execution";
import { budgets, freshSentence, requireReady, speak, spoken, tail, trendStats } from "./lib.js";

const RATE = Number(__ENV.LOAD_RATE || 60);
const FRESH = Number(__ENV.LOAD_FRESH || 0.1);
const SECONDS = Number(__ENV.LOAD_SECONDS || 40);
const COMMON_RATE = Math.max(1, Math.round(RATE * (1 - FRESH)));
const FRESH_RATE = Math.max(1, Math.round(RATE * FRESH));

const COMMON = [
  "Welcome! How can I help you today?",
  "One moment please, I am looking that up for you.",
  "Would you like to visit the house on Saturday morning?",
  "May I have your name and your telephone number?",
  "Thank you for calling. Have a nice day!",
];

function arrivals(rate) {
  return {
    executor: "constant-arrival-rate",
    rate,
    timeUnit: "1s",
    duration: `${SECONDS}s`,
    preAllocatedVUs: 20,
    maxVUs: 200,
  };
}

export const options = {
  scenarios: {
    common: { ...arrivals(COMMON_RATE), exec: "common" },
    fresh: { ...arrivals(FRESH_RATE), exec: "fresh" },
  },
  thresholds: {
    checks: ["rate==1"],
    spoken: ["rate==1"],
    http_req_failed: ["rate==0"],
    dropped_iterations: ["count==0"],
    first_audio_cached_ms: [
      `${tail(COMMON_RATE * SECONDS)}<${budgets.first_audio_ms.cached_p99}`,
    ],
    first_audio_uncached_ms: [`${tail(FRESH_RATE * SECONDS)}<${budgets.first_audio_ms.promise}`],
    whole_reply_uncached_ms: [`p(95)<${budgets.whole_reply_ms.cold_50_p95}`],
  },
  summaryTrendStats: trendStats(COMMON_RATE * SECONDS),
};

export function setup() {
  requireReady();
  for (const text of COMMON) speak(text, "uncached"); // from here on they are cached
}

function verify(reply) {
  const ok = check(reply, {
    "status is 200": (r) => r.status === 200,
    "it is audio": (r) => r.headers["Content-Type"] === "audio/mpeg" && r.body.byteLength > 4000,
  });
  spoken.add(ok);
}

export function common() {
  const reply = speak(COMMON[exec.scenario.iterationInTest % COMMON.length], "cached");
  verify(reply);
  check(reply, { "came from the cache": (r) => r.headers["X-Cached"] === "true" });
}

export function fresh() {
  verify(speak(freshSentence(__VU, exec.scenario.iterationInTest), "uncached"));
}
