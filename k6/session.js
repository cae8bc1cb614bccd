// Sessions over WebSocket that speak a turn every few seconds, held against
// benchmarks/budgets.json:
//
//     k6 run --no-usage-report k6/session.js
//
// SESSION_COUNT, SESSION_TURNS and SESSION_PAUSE_S change the load; SEIKETSU_URL and SEIKETSU_KEY
// choose the gateway.

import { check } from "k6";
import { Counter, Rate, Trend } from "k6/metrics";
import { WebSocket } from "k6/experimental/websockets";
import { budgets, freshSentence, requireReady, sessionUrl, sessionHeaders } from "./lib.js";

const COUNT = Number(__ENV.SESSION_COUNT || 20);
const TURNS = Number(__ENV.SESSION_TURNS || 5);
const PAUSE_S = Number(__ENV.SESSION_PAUSE_S || 1);
const LIMIT_S = 60 + TURNS * (PAUSE_S + 2);

const COMMON = "Thank you for your interest in our properties.";

const turn = new Trend("session_turn_ms", true);
const firstAudio = new Trend("session_first_audio_ms", true);
const turnsSpoken = new Rate("session_turns_spoken");
const replies = new Counter("session_replies");

export const options = {
  scenarios: {
    sessions: {
      executor: "per-vu-iterations",
      vus: COUNT,
      iterations: 1,
      maxDuration: `${LIMIT_S}s`,
    },
  },
  thresholds: {
    checks: ["rate==1"],
    session_turns_spoken: ["rate==1"],
    session_replies: [`count==${COUNT * TURNS}`],
    session_first_audio_ms: [`p(99)<${budgets.first_audio_ms.promise}`],
    session_turn_ms: [`p(95)<${budgets.first_audio_ms.promise}`],
  },
  summaryTrendStats: ["med", "p(95)", "p(99)", "max", "count"],
};

export function setup() {
  requireReady();
}

export default function () {
  const socket = new WebSocket(sessionUrl(`k6-${__VU}`), null, { headers: sessionHeaders() });
  let done = 0;
  let askedAt = 0;

  function ask() {
    const text = done % 3 === 0 ? COMMON : freshSentence(__VU, done);
    askedAt = Date.now();
    socket.send(JSON.stringify({ type: "synthesize", text }));
  }

  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "connection_established") {
      ask();
      return;
    }
    if (event.type !== "audio_response") {
      turnsSpoken.add(false);
      check(event, { "no error": (e) => e.type !== "error" });
      socket.close();
      return;
    }
    turn.add(Date.now() - askedAt);
    if (event.metadata.first_audio_ms !== null) firstAudio.add(event.metadata.first_audio_ms);
    replies.add(1);
    const ok = check(event, {
      "audio is hex of an MP3 stream": (e) => /^(ff|494433)/.test(e.audio_data),
      "it is of some length": (e) => e.metadata.duration_ms > 500,
    });
    turnsSpoken.add(ok);
    done += 1;
    if (done === TURNS) socket.close();
    else setTimeout(ask, PAUSE_S * 1000);
  };
  socket.onerror = (error) => check(error, { "the connection holds": () => false });
  const limit = setTimeout(() => socket.close(), LIMIT_S * 1000 - 2000);
  socket.onclose = () => clearTimeout(limit);
}
