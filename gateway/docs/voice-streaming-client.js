// A session with the voice gateway, for pages and programs in JavaScript:
//
//     import { VoiceStreamingClient } from "http://localhost:8000/docs/static/voice-streaming-client.js";
//
//     const voiceStream = new VoiceStreamingClient({
//       sessionId: "session_123", voiceAgentId: "agent_123", language: "en",
//     });
//     voiceStream.onAudioReceived = (audioData, metadata) => play(audioData);
//     voiceStream.synthesize("Hello! How can I help you today?");
//
// A text that a language model is still writing, spoken from its first clause on:
//
//     voiceStream.onAudioChunk = (audioData, { utteranceId, offsetMs, durationMs }) => play(audioData);
//     for await (const token of model) voiceStream.text(token, "answer-1");
//     voiceStream.end("answer-1");
//     voiceStream.onInterrupted = ({ spoken_text, remaining_text }) => ...;
//     voiceStream.interrupt(player.offsetMs, "answer-1"); // the listener began to speak
//
// A session that has streamed something comes back by itself when its connection is lost: commands
// that were not acknowledged are sent again, and onSpeechResumed({ utterance_id, offset_ms }) says
// from where on to drop what the player has of an utterance. What could not be carried out goes to
// onLost(command, reason): a frame that is too large, and all that was under way where the session
// ended for good or could not be regained. Of a text of which a piece is lost what follows is lost
// too, up to its end().
//
// Where the gateway has keys, a page gets a `token` from its own server, which asks for it with
// `POST /api/v1/voice/sessions`; a token opens one session. `renewToken`, which returns a promise of
// another, lets it come back to a lost one. A key never belongs into a page.
//
// Where the gateway ends, a session that has streamed nothing comes back as a new one, with what was
// configured.

const MOST_WAITING = 8; // the gateway takes no more at once
const HEADER_BYTES = 16;
const MOST_TRIES = 8; // to come back, within some 25 s
const LONGEST_WAIT_MS = 4000;
// Every other code is for good; not every program in JavaScript tells one where a connection broke.
const RETURNS = [1006, 1012, 1013, 1014, 4008];
const CONFIGURED = ["voice_agent_id", "language", "format", "audio_encoding"];
const NO_PROGRESS = ["connection_established", "resumability", "going_away", "error"];

export class VoiceStreamingClient {
  // baseUrl: of the gateway, else where this file came from; WebSocket: another one than the platform's own.
  // format, audioEncoding: of streamed audio; "binary" is the smallest.
  constructor(wanted = {}) {
    const { sessionId, voiceAgentId, language, token, baseUrl, WebSocket } = wanted;
    const base = baseUrl || originOfThisFile() || "http://localhost:8000";
    const path = `/api/v1/voice/streaming/stream/${encodeURIComponent(sessionId)}`;
    this._url = base.replace(/^http/, "ws") + path;
    this._options = {
      voice_agent_id: voiceAgentId,
      language,
      format: wanted.format,
      audio_encoding: wanted.audioEncoding,
    };
    this._token = token; // stands in no URL, which others may log
    this._WebSocket = WebSocket || globalThis.WebSocket;
    this._renewToken = wanted.renewToken;

    this.onConnected = () => {}; // (event): `connection_established`
    this.onAudioReceived = () => {}; // (Uint8Array of a whole audio file, metadata)
    this.onSpeechStarted = () => {}; // (event): an utterance that is streamed
    this.onSpeechResumed = () => {}; // (event): its audio begins anew from there on
    this.onAudioChunk = () => {}; // (Uint8Array, { utteranceId, offsetMs, durationMs })
    this.onAlignment = () => {}; // (event): words and when they sound
    this.onSpeechFinished = () => {}; // (event)
    this.onInterrupted = () => {}; // ({ utterance_id, spoken_text, remaining_text, offset_ms })
    this.onEvent = () => {}; // (every event that is JSON)
    this.onError = () => {}; // ({ code, message, action, retryable })
    this.onLost = () => {}; // (command, reason: "frame_too_large", "session_expired" or "closed")
    this.onClosed = () => {}; // (code, reason)
    this._waiting = []; // until the session is there
    this._connected = false;
    this._closed = false;
    this._spoken = {}; // utterance ids by the number in binary frames; the last few
    this._encoding = "hex";
    this._streams = false; // only then there is something to come back to
    this._sent = new Map(); // commands that were not acknowledged, by their ids
    this._commands = 0;
    this._last = 0; // sequence of the last event
    this._tries = 0;
    this._retryMs = 0;
    this._away = false; // told to come back
    this._resumeToken = null; // nor does this
    this._mostBytes = Infinity; // of a frame
    this._writing = null; // { id }: the text that was not ended yet
    this._broken = null; // { id, reason }: a text that lost a piece
    this._open();
  }

  _open() {
    const query = Object.entries(this._options)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const url = this._url + (query.length ? `?${query.join("&")}` : "");
    const protocols = [];
    if (this._token) protocols.push(`seiketsu.token.${this._token}`);
    if (this._resumeToken) protocols.push(`seiketsu.resume.${this._resumeToken}`);
    const socket = protocols.length
      ? new this._WebSocket(url, ["seiketsu", ...protocols])
      : new this._WebSocket(url);
    this._socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) =>
      typeof data === "string" ? this._received(JSON.parse(data)) : this._heard(data);
    socket.onclose = (event) => this._lost(event.code, event.reason);
    socket.onerror = () => {
      if (this._comesBack()) return;
      this.onError({
        code: "connection_failed",
        message: "The connection cannot be opened, or broke.",
        action: "Check the address, and that the token is new.",
        retryable: true,
      });
    };
  }

  _comesBack() {
    const wanted = (this._streams && this._resumeToken) || this._away;
    return !this._closed && wanted && this._tries < MOST_TRIES;
  }

  _lost(code, reason) {
    this._connected = false;
    if (!this._comesBack() || (code && !RETURNS.includes(code))) {
      this._closed = true;
      const lost = [...this._sent.values(), ...this._waiting.splice(0)];
      this._sent.clear();
      for (const command of lost) this.onLost(command, "closed");
      this.onClosed(code, reason);
      return;
    }
    if (!this._streams) this._resumeToken = null; // nothing is kept of it
    const waitMs = this._retryMs || Math.min(LONGEST_WAIT_MS, 250 * 2 ** this._tries) * Math.random();
    this._retryMs = 0;
    this._tries += 1;
    setTimeout(() => this._return(), waitMs);
  }

  _return() {
    if (this._closed) return;
    this._options.last_sequence = this._resumeToken ? this._last : undefined;
    if (!this._renewToken) {
      this._token = null; // it was for once
      this._open();
      return;
    }
    const open = (token) => {
      this._token = token;
      this._open();
    };
    this._renewToken().then(open, () => this._lost(1006, "no token"));
  }

  // Have a text spoken; options as in the protocol: language, format, stream, command_id, ...
  synthesize(text, options = {}) {
    this._send({ type: "synthesize", text, ...options });
  }

  // A piece of a text that is still being written; end() completes it, flush() does not wait for
  // the end of a sentence.
  text(text, utteranceId) {
    this._send({ type: "text", text, utterance_id: utteranceId || null });
  }

  // Nothing happens where another utterance than the named one is being written.
  flush(utteranceId) {
    this._send({ type: "flush", utterance_id: utteranceId || null });
  }

  end(utteranceId) {
    this._send({ type: "end", utterance_id: utteranceId || null });
  }

  // Stop everything; playedMs: of the utterance that is being played, where the player knows it.
  interrupt(playedMs, utteranceId) {
    this._send({
      type: "interrupt",
      playback_offset_ms: playedMs === undefined ? null : playedMs,
      utterance_id: utteranceId || null,
    });
  }

  // How far the player is.
  playback(utteranceId, offsetMs) {
    this._send({ type: "playback", utterance_id: utteranceId, offset_ms: offsetMs });
  }

  // For what is asked from now on: voice_agent_id, language, format, audio_encoding.
  configure(options) {
    this._send({ type: "configure", ...options });
  }

  ping() {
    this._send({ type: "ping" });
  }

  close() {
    this._closed = true;
    this._socket.close(1000);
  }

  _send(command) {
    if (this._closed) {
      throw new Error("The session is closed; open another one.");
    }
    if (command.type === "text" || command.stream) this._streams = true;
    if (this._connected) {
      this._put(command);
    } else if (this._waiting.length < MOST_WAITING || this._resumeToken || this._away) {
      this._waiting.push(command);
    } else {
      throw new Error("The session is not open yet, and too much is waiting for it.");
    }
  }

  // What changes something is kept until it is acknowledged.
  _put(command) {
    const reason = this._broken && this._broken.reason;
    if (this._isOfBroken(command)) {
      this.onLost(command, reason);
      return;
    }
    let given = command;
    if (this._streams && command.type !== "ping" && command.type !== "get_stats") {
      this._commands += 1;
      given = { command_id: `auto-${this._commands}`, ...command };
    }
    const frame = JSON.stringify(given);
    if (bytesOf(frame) > this._mostBytes) {
      this._lose(command, "frame_too_large");
      return;
    }
    if (given !== command) this._sent.set(given.command_id, given);
    this._follow(given);
    this._socket.send(frame);
  }

  // Which text is being written.
  _follow(command) {
    const id = command.utterance_id || null;
    const writing = this._writing;
    if (command.type === "text" && (!writing || (id && id !== writing.id))) {
      this._writing = { id };
    } else if (command.type === "interrupt") {
      this._writing = this._broken = null;
    } else if (command.type === "end" && writing && (!id || id === writing.id)) {
      this._writing = null;
    }
  }

  _lose(command, reason) {
    if (command.type === "text") {
      const id = command.utterance_id || (this._writing && this._writing.id);
      this._broken = { id: id || null, reason };
    }
    this.onLost(command, reason);
  }

  // Whether it goes on with a text of which a piece is missing; the end of that text is the end of it.
  _isOfBroken(command) {
    if (!this._broken) return false;
    const id = command.utterance_id || null;
    const same = !id || id === this._broken.id;
    if (command.type === "end" && same) this._broken = null;
    if (command.type !== "text") return false;
    if (!same) this._broken = null; // another text begins
    return same;
  }

  _greeted(event) {
    this._connected = true;
    this._away = false;
    this._resumeToken = event.resume_token;
    this._mostBytes = event.capabilities.max_frame_bytes;
    if (!event.resumed) this._begunAnew();
    for (const command of this._sent.values()) this._socket.send(JSON.stringify(command));
    for (const command of this._waiting.splice(0)) this._put(command);
    this.onConnected(event);
  }

  // Nothing of what was asked before is known to the gateway, nor the beginning of a text.
  _begunAnew() {
    const lost = [...this._sent.values()];
    this._sent.clear();
    if (this._writing) this._broken = { ...this._writing, reason: "session_expired" };
    this._writing = null;
    for (const command of lost) this.onLost(command, "session_expired");
  }

  _received(event) {
    this._last = event.sequence;
    if (!NO_PROGRESS.includes(event.type)) this._tries = 0;
    if (event.command_id) this._sent.delete(event.command_id);
    if (event.type === "connection_established") {
      this._greeted(event);
    } else if (event.type === "audio_response") {
      this.onAudioReceived(bytesOfHex(event.audio_data), event.metadata);
    } else if (event.type === "going_away") {
      this._retryMs = event.retry_after_ms;
      this._away = true;
    } else if (event.type === "configured") {
      for (const name of CONFIGURED) this._options[name] = event[name];
    } else if (event.type === "speech_started" || event.type === "speech_resumed") {
      this._encoding = event.audio_encoding;
      this._spoken[event.utterance] = event.utterance_id;
      delete this._spoken[event.utterance - 16];
      if (event.type === "speech_started") this.onSpeechStarted(event);
      else this.onSpeechResumed(event);
    } else if (event.type === "audio_chunk") {
      const decode = this._encoding === "base64" ? bytesOfBase64 : bytesOfHex;
      this.onAudioChunk(decode(event.audio_data), {
        utteranceId: event.utterance_id,
        offsetMs: event.offset_ms,
        durationMs: event.duration_ms,
      });
    } else if (event.type === "alignment") {
      this.onAlignment(event);
    } else if (event.type === "speech_finished") {
      this.onSpeechFinished(event);
    } else if (event.type === "interrupted") {
      this.onInterrupted(event);
    } else if (event.type === "error") {
      this.onError(event);
    }
    this.onEvent(event);
  }

  // A binary frame: kinds, flags, duration (2 bytes), sequence, utterance, offset (4 each), audio.
  _heard(data) {
    const header = new DataView(data, 0, HEADER_BYTES);
    this._last = header.getUint32(4);
    this._tries = 0;
    if (header.getUint8(0) !== 0x11 || data.byteLength === HEADER_BYTES) return;
    this.onAudioChunk(new Uint8Array(data, HEADER_BYTES), {
      utteranceId: this._spoken[header.getUint32(8)],
      offsetMs: header.getUint32(12),
      durationMs: header.getUint16(2),
    });
  }
}

function originOfThisFile() {
  const url = import.meta.url || "";
  return /^https?:/.test(url) ? new URL(url).origin : null;
}

// Of a text in UTF-8.
function bytesOf(text) {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function bytesOfHex(hex) {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = parseInt(hex.substr(2 * i, 2), 16);
  return bytes;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Not by atob(), which not every program in JavaScript has.
function bytesOfBase64(text) {
  const padded = text.length - text.replace(/=+$/, "").length;
  const bytes = new Uint8Array((text.length / 4) * 3 - padded);
  for (let i = 0, at = 0; i < text.length; i += 4) {
    let four = 0;
    for (let j = 0; j < 4; j += 1) four = four * 64 + Math.max(0, BASE64.indexOf(text[i + j]));
    for (const shift of [16, 8, 0]) {
      if (at < bytes.length) bytes[at++] = (four >> shift) & 0xff;
    }
  }
  return bytes;
}
