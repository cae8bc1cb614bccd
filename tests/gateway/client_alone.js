// The client that the gateway serves, run by k6 without a gateway: its socket is played here.

import { check } from "k6";
import { VoiceStreamingClient } from "../../gateway/docs/voice-streaming-client.js";

export const options = { thresholds: { checks: ["rate==1"] } };

const sockets = [];

class Socket {
  constructor(url, protocols) {
    Object.assign(this, { url, protocols: protocols || [], sent: [] });
    sockets.push(this);
  }

  send(frame) {
    this.sent.push(JSON.parse(frame));
  }

  hear(event) {
    this.onmessage({ data: JSON.stringify({ sequence: 1, ...event }) });
  }

  greet(resumed, token) {
    const capabilities = { max_frame_bytes: 400 };
    this.hear({ type: "connection_established", resumed, resume_token: token, capabilities });
  }

  drop(code) {
    this.onclose({ code, reason: "" });
  }
}

function open(more) {
  sockets.length = 0;
  const wanted = { sessionId: "s1", baseUrl: "http://x", WebSocket: Socket, ...more };
  const client = new VoiceStreamingClient(wanted);
  const lost = [];
  const closed = [];
  client.onLost = (command, reason) => lost.push(`${command.type} ${command.text || ""} ${reason}`);
  client.onClosed = (code) => closed.push(code);
  sockets[0].greet(false, "one");
  return { client, lost, closed };
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const texts = (socket) => socket.sent.filter(({ type }) => type === "text").map(({ text }) => text);

export default async function () {
  for (const code of [1000, 1001, 1002, 1005, 1007, 1008, 1009, 1011, 4009]) {
    const { client, lost, closed } = open();
    client.text("One", "a");
    sockets[0].drop(code);
    check(closed, { "a final code is final": () => closed.join() === String(code) });
    check(lost, { "what was under way is handed back": () => lost.join() === "text One closed" });
  }

  const big = open();
  big.client.text("One", "a");
  big.client.text("\u00e9".repeat(190), "a");
  big.client.text("lost", "a");
  big.client.end("a");
  big.client.text("Two", "b");
  check(texts(sockets[0]), { "a frame too large is not sent": (t) => t.join() === "One,Two" });
  check(big.lost, {
    "nor what follows of its text": (l) => l.length === 2 && l[1] === "text lost frame_too_large",
  });
  check(sockets[0].sent, { "its end is": (s) => s[1].type === "end" && s[1].utterance_id === "a" });

  const away = open();
  away.client.text("One", "a");
  sockets[0].drop(1006);
  away.client.text("more", "a");
  await wait(260);
  check(sockets[1], {
    "the token is in no URL": (s) => !s.url.includes("one") && s.protocols[1] === "seiketsu.resume.one",
  });
  sockets[1].greet(false, "two");
  away.client.text("and more", "a");
  away.client.end("a");
  away.client.text("Two", "b");
  check(texts(sockets[1]), { "no text begins in its middle": (t) => t.join() === "Two" });
  check(away.lost.join(), {
    "all of it is handed back": (l) =>
      l === "text One session_expired,text more session_expired,text and more session_expired",
  });
  check(away.client, { "a greeting is no progress": (c) => c._tries === 1 });
  sockets[1].hear({ type: "accepted", command_id: sockets[1].sent[0].command_id });
  check(away.client, { "an answer is": (c) => c._tries === 0 });
  away.client._closed = true;

  const quiet = open();
  const errors = [];
  quiet.client.onError = ({ code }) => errors.push(code);
  const configured = { voice_agent_id: "b", language: "es", format: "ulaw", audio_encoding: "hex" };
  sockets[0].hear({ type: "configured", ...configured });
  sockets[0].hear({ type: "going_away", retry_after_ms: 10 });
  sockets[0].drop(1012);
  quiet.client.synthesize("Hello.");
  await wait(40);
  check(sockets[1], {
    "a quiet session comes back as another": (s) =>
      !s.protocols.length && s.url.endsWith("?voice_agent_id=b&language=es&format=ulaw&audio_encoding=hex"),
  });
  sockets[1].greet(false, "two");
  check(sockets[1].sent, { "with what was asked": (s) => s[0].text === "Hello." });
  sockets[1].drop(1006);
  check(quiet, {
    "without an error": () => !errors.length && !quiet.lost.length,
    "and only where it is told to": (q) => q.closed.join() === "1006",
  });

  const said = ({ url, protocols }) => `${url.includes("token")} ${protocols.join()}`;
  const page = open({ token: "t1", renewToken: () => Promise.resolve("t2") });
  check(said(sockets[0]), { "nor is a page's": (s) => s === "false seiketsu,seiketsu.token.t1" });
  page.client.text("One", "a");
  sockets[0].drop(1006);
  await wait(260);
  check(said(sockets[1]), {
    "nor the next": (s) => s === "false seiketsu,seiketsu.token.t2,seiketsu.resume.one",
  });
  page.client._closed = true;
  check(true, { "nothing was thrown": Boolean });
}
