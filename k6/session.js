// Sessions over WebSocket, each with a turn every five seconds, held against
// benchmarks/budgets.json:
//
//     k6 run --no-usage-report k6/session.js
//
// or, with an installation of its own whose gateway has a core for itself, as many sessions and as
// long as benchmarks/sessions.py:
//
//     SESSION_COUNT=1000 SESSION_SECONDS=120 .venv/bin/python -m benchmarks.load session
//
// The mix is in mix.js; audio comes in binary frames. SESSION_COUNT and SESSION_SECONDS change the
// load; SEIKETSU_URL and SEIKETSU_KEY choose the gateway, which takes so many sessions of one key as
// SEIKETSU_MAX_SESSIONS_PER_KEY says.
//
// What it cannot tell: it does not decode, so that the first frame stands for the first audio, and
// wrong words, silence or noise are not heard; it reads lengths from frame headers, not gaps between
// offsets; it sees whole milliseconds; and it does not know the gateway's processor time and memory.
// benchmarks/sessions.py tells all of that. `session_asked_late_ms` is how far k6 itself lags: where
// that is large, the other times are k6's and not the gateway's.

import { check } from "k6";
import { Counter, Rate, Trend } from "k6/metrics";
import { WebSocket } from "k6/experimental/websockets";
import {
  budgets,
  requireReady,
  sessionHeaders,
  sessionUrl,
  speakAll,
  tail,
  trendStats,
} from "./lib.js";
import { COMMON, MIX, ask as turnOf, formatOf, languageOf, tokensOf } from "./mix.js";

const COUNT = Number(__ENV.SESSION_COUNT || 20);
const SECONDS = Number(__ENV.SESSION_SECONDS || 15);
const PER_VU = Math.min(COUNT, 25);
const VUS = Math.ceil(COUNT / PER_VU);
const TURN_MS = MIX.turnEveryS * 1000;
const TURNS = Math.ceil((SECONDS * 1000) / TURN_MS); // of one session, at the most
const SAMPLES = COUNT * TURNS;
const LAST_MS = 12_000; // a turn may still go on so long after the last was asked
const OPEN_EVERY_MS = 5;
const OPENING_MS = 1000 + COUNT * OPEN_EVERY_MS; // all are open by then, and the turns begin
const TOKEN_MS = 1000 / MIX.tokensPerS;
const HEADER_BYTES = 16;
const UNDERRUN_MS = 300;

const firstAudio = new Trend("session_first_audio_ms", true);
const askedLate = new Trend("session_asked_late_ms", true);
const interruptAnswered = new Trend("session_interrupt_answered_ms", true);
const underruns = new Counter("session_underruns");
const stray = new Counter("session_frames_after_interruption");
const turns = new Counter("session_turns");
const spoken = new Rate("session_turns_spoken");

export const options = {
  scenarios: {
    sessions: {
      executor: "per-vu-iterations",
      vus: VUS,
      iterations: 1,
      maxDuration: `${Math.ceil((OPENING_MS + SECONDS * 1000 + LAST_MS) / 1000) + 30}s`,
    },
  },
  thresholds: {
    checks: ["rate==1"],
    session_turns_spoken: ["rate==1"],
    session_turns: ["count>0"],
    session_first_audio_ms: [`${tail(SAMPLES)}<${budgets.sessions.first_audio_ms_p99}`],
    session_underruns: [`count<=${budgets.sessions.underruns}`],
    session_frames_after_interruption: [`count<=${budgets.sessions.frames_after_interruption}`],
  },
  summaryTrendStats: trendStats(SAMPLES),
};

// What is common has been asked for before the load begins, and all begin by one clock.
export function setup() {
  requireReady();
  const bodies = [];
  for (const [language, texts] of Object.entries(COMMON))
    for (const text of texts) for (const format of MIX.formats) bodies.push({ text, language, format });
  speakAll(bodies);
  const run = Math.floor(Math.random() * 100_000);
  return { run, opensAt: Date.now(), beginsAt: Date.now() + OPENING_MS };
}

export default function (times) {
  underruns.add(0);
  stray.add(0);
  for (let place = 0; place < PER_VU; place++) {
    const number = (__VU - 1) * PER_VU + place;
    if (number < COUNT) at(times.opensAt + number * OPEN_EVERY_MS, () => session(number, times));
  }
}

function at(instant, act) {
  return setTimeout(act, Math.max(1, instant - Date.now()));
}

function session(number, { run, beginsAt }) {
  const language = languageOf(number);
  const query = `&language=${language}&format=${formatOf(number)}&audio_encoding=binary`;
  const url = sessionUrl(`k6-${run}-${number}`, query);
  const socket = new WebSocket(url, null, { headers: sessionHeaders() });
  socket.binaryType = "arraybuffer";
  const open = {}; // turns that have not ended, by utterance id
  const byNumber = {};
  let asked = 0;
  let interrupting = null;
  let closing = false;

  function send(type, fields) {
    if (!closing) socket.send(JSON.stringify({ type, ...fields }));
  }

  function ask(dueAt) {
    const turn = {
      ...turnOf(language, run + number * TURNS + asked),
      id: `t${asked++}`,
      startedAt: Date.now(),
      sentText: "",
      heard: false,
      playedUntil: 0,
      interruptedAt: 0,
      over: false,
    };
    open[turn.id] = turn;
    turns.add(1);
    askedLate.add(turn.startedAt - dueAt);
    if (turn.written) {
      write(turn, tokensOf(turn.text, language));
    } else {
      turn.sentText = turn.text;
      send("synthesize", { text: turn.text, stream: true, utterance_id: turn.id });
    }
  }

  function write(turn, tokens) {
    if (turn.over || turn.interruptedAt) return;
    if (tokens.length === 0) {
      send("end");
      return;
    }
    turn.sentText += tokens[0];
    send("text", { text: tokens[0], utterance_id: turn.id });
    setTimeout(() => write(turn, tokens.slice(1)), TOKEN_MS);
  }

  function interrupt(turn) {
    turn.interruptedAt = Date.now();
    interrupting = turn;
    send("interrupt");
  }

  function end(turn, well) {
    turn.over = true;
    delete open[turn.id];
    spoken.add(well);
  }

  function hear(data) {
    const head = new DataView(data);
    const turn = byNumber[head.getUint32(8)];
    if (!turn || data.byteLength <= HEADER_BYTES) return;
    const now = Date.now();
    if (turn.over && turn.interruptedAt) {
      stray.add(1);
      return;
    }
    if (!turn.heard) {
      turn.heard = true;
      firstAudio.add(now - turn.startedAt);
    } else if (now - turn.playedUntil > UNDERRUN_MS) {
      underruns.add(1);
    }
    turn.playedUntil = Math.max(now, turn.playedUntil) + head.getUint16(2);
  }

  function take(event) {
    if (event.type === "accepted" && interrupting) {
      const turn = interrupting;
      interrupting = null;
      interruptAnswered.add(Date.now() - turn.interruptedAt);
      if (!turn.over) end(turn, turn.heard);
      return;
    }
    const turn = open[event.utterance_id];
    if (event.type === "error") {
      check(event, { "no error": () => false });
      if (turn) end(turn, false);
    } else if (event.type === "speech_started" && turn) {
      byNumber[event.utterance] = turn;
      if (turn.interruptMs !== null) setTimeout(() => interrupt(turn), turn.interruptMs);
    } else if (event.type === "interrupted" && turn) {
      const whole = event.spoken_text + event.remaining_text === turn.sentText;
      check(event, { "spoken and remaining text are the text": () => whole });
      end(turn, whole);
    } else if (event.type === "speech_finished" && turn && turn.interruptMs === null) {
      end(turn, turn.heard);
    }
  }

  function begin() {
    const endsAt = beginsAt + SECONDS * 1000;
    const first = beginsAt + (number * TURN_MS) / COUNT;
    for (let due = first; due < endsAt; due += TURN_MS) at(due, () => ask(due));
    const limit = at(endsAt + LAST_MS, () => {
      closing = true;
      for (const turn of Object.values(open)) end(turn, false);
      socket.close();
    });
    const look = setInterval(() => {
      if (!closing && Object.keys(open).length > 0) return;
      if (!closing && Date.now() < endsAt) return;
      clearInterval(look);
      clearTimeout(limit);
      closing = true;
      socket.close();
    }, 500);
  }

  socket.onmessage = (message) => {
    if (typeof message.data !== "string") {
      hear(message.data);
      return;
    }
    const event = JSON.parse(message.data);
    if (event.type === "connection_established") begin();
    else take(event);
  };
  socket.onclose = () => {
    if (closing) return;
    closing = true;
    check(null, { "the connection holds": () => false });
    for (const turn of Object.values(open)) end(turn, false);
  };
  socket.onerror = (error) => {
    if (!closing) check(error, { "the connection holds": () => false });
  };
}
