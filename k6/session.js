// Sessions over WebSocket, each with a turn every five seconds, held against
// benchmarks/budgets.json:
//
//     k6 run --no-usage-report k6/session.js
//
// The mix is that of benchmarks/sessions_mix.py: languages 70/20/10, ulaw and mp3 in turn, three
// texts of ten new, three of ten written token by token at 25 a second, one turn of twenty
// interrupted; audio in binary frames. SESSION_COUNT and SESSION_SECONDS change the load;
// SEIKETSU_URL and SEIKETSU_KEY choose the gateway. benchmarks/sessions.py decodes what it hears,
// and tells what a turn costs the gateway.

import { check } from "k6";
import { Counter, Rate, Trend } from "k6/metrics";
import { WebSocket } from "k6/experimental/websockets";
import { budgets, requireReady, sessionUrl, sessionHeaders } from "./lib.js";

const COUNT = Number(__ENV.SESSION_COUNT || 20);
const SECONDS = Number(__ENV.SESSION_SECONDS || 15);
const PER_VU = Math.min(COUNT, 25);
const VUS = Math.ceil(COUNT / PER_VU);
const TURN_MS = 5000;
const LAST_MS = 12_000; // a turn may still go on so long after the last was asked
const TOKEN_MS = 40;
const FRESH = 0.3;
const WRITTEN = 0.3;
const INTERRUPTED = 0.05;
const HEADER_BYTES = 16;
const UNDERRUN_MS = 300;

const COMMON = {
  en: [
    "Welcome! How can I help you today?",
    "One moment please, I am looking that up for you.",
    "Would you like to visit the house on Saturday morning?",
    "Thank you for calling. Have a nice day!",
    "Yes, it is still available.",
    "Our office is open from nine to five.",
  ],
  es: ["¡Bienvenido! ¿En qué puedo ayudarle hoy?", "Sí, todavía está disponible."],
  zh: ["您好，请问有什么可以帮您？", "请稍等，我马上为您查询。"],
};
const FRESH_TEXT = {
  en: (figures) => `The house at ${figures.join(" ")} is free now.`,
  es: (figures) => `La casa ${figures.join(" ")} está libre ahora.`,
  zh: (figures) => `房子${figures.join("")}号离车站很近。`,
};
const FIGURES = {
  en: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
  es: ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
  zh: [..."零一二三四五六七八九"],
};

const firstAudio = new Trend("session_first_audio_ms", true);
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
      maxDuration: `${Math.ceil((SECONDS * 1000 + LAST_MS) / 1000) + 30}s`,
    },
  },
  thresholds: {
    checks: ["rate==1"],
    session_turns_spoken: ["rate==1"],
    session_turns: ["count>0"],
    session_first_audio_ms: [`p(99)<${budgets.sessions.first_audio_ms_p99}`],
    session_underruns: [`count<=${budgets.sessions.underruns}`],
    session_frames_after_interruption: [`count<=${budgets.sessions.frames_after_interruption}`],
  },
  summaryTrendStats: ["med", "p(95)", "p(99)", "max", "count"],
};

export function setup() {
  requireReady();
}

export default function () {
  underruns.add(0);
  stray.add(0);
  for (let place = 0; place < PER_VU; place++) {
    const number = (__VU - 1) * PER_VU + place;
    if (number < COUNT) session(number);
  }
}

function textOf(language) {
  if (Math.random() >= FRESH) {
    const common = COMMON[language];
    return common[Math.floor(Math.random() * common.length)];
  }
  const digits = Array.from({ length: 6 }, () => Math.floor(Math.random() * 10));
  return FRESH_TEXT[language](digits.map((digit) => FIGURES[language][digit]));
}

function tokensOf(text, language) {
  return language === "zh" ? [...text] : text.split(/(?= )/);
}

function session(number) {
  const language = number % 10 < 7 ? "en" : number % 10 < 9 ? "es" : "zh";
  const format = Math.floor(number / 10) % 2 === number % 2 ? "ulaw" : "mp3";
  const query = `&language=${language}&format=${format}&audio_encoding=binary`;
  const url = sessionUrl(`k6-${number}`, query);
  const socket = new WebSocket(url, null, { headers: sessionHeaders() });
  socket.binaryType = "arraybuffer";
  const open = {}; // turns that have not ended, by utterance id
  const byNumber = {};
  let asked = 0;
  let interrupting = null;
  let closing = false;
  let beganAt = 0;

  function send(type, fields) {
    if (!closing) socket.send(JSON.stringify({ type, ...fields }));
  }

  function ask() {
    const text = textOf(language);
    const turn = {
      id: `t${asked++}`,
      text,
      startedAt: Date.now(),
      sentText: "",
      heard: false,
      playedUntil: 0,
      interruptMs: Math.random() < INTERRUPTED ? 100 + 1400 * Math.random() : null,
      interruptedAt: 0,
      over: false,
    };
    open[turn.id] = turn;
    turns.add(1);
    if (Math.random() < WRITTEN) {
      write(turn, tokensOf(text, language));
    } else {
      turn.sentText = text;
      send("synthesize", { text, stream: true, utterance_id: turn.id });
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
    beganAt = Date.now();
    const first = (number * TURN_MS) / COUNT;
    for (let due = first; due < SECONDS * 1000; due += TURN_MS) setTimeout(ask, due);
    const limit = setTimeout(() => {
      closing = true;
      for (const turn of Object.values(open)) end(turn, false);
      socket.close();
    }, SECONDS * 1000 + LAST_MS);
    const look = setInterval(() => {
      if (!closing && Object.keys(open).length > 0) return;
      if (!closing && Date.now() < beganAt + SECONDS * 1000) return;
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
