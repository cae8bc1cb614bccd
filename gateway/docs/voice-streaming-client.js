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
//     voiceStream.end();
//     voiceStream.onInterrupted = ({ spoken_text, remaining_text }) => ...;
//     voiceStream.interrupt(player.offsetMs); // the listener began to speak
//
// Where the gateway has keys, a page gets a `token` from its own server, which asks for it with
// `POST /api/v1/voice/sessions`; a token opens one session. A key never belongs into a page.

const MOST_WAITING = 8; // the gateway takes no more at once
const HEADER_BYTES = 16;

export class VoiceStreamingClient {
  // baseUrl: of the gateway, else where this file came from; WebSocket: another one than the platform's own.
  // format, audioEncoding: of streamed audio; "binary" is the smallest.
  constructor(wanted = {}) {
    const { sessionId, voiceAgentId, language, token, baseUrl, WebSocket } = wanted;
    const base = baseUrl || originOfThisFile() || "http://localhost:8000";
    const query = [];
    const options = {
      voice_agent_id: voiceAgentId,
      language,
      format: wanted.format,
      audio_encoding: wanted.audioEncoding,
      token,
    };
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined && value !== null) query.push(`${name}=${encodeURIComponent(value)}`);
    }
    const path = `/api/v1/voice/streaming/stream/${encodeURIComponent(sessionId)}`;
    const url = base.replace(/^http/, "ws") + path + (query.length ? `?${query.join("&")}` : "");

    this.onConnected = () => {}; // (event): `connection_established`
    this.onAudioReceived = () => {}; // (Uint8Array of a whole audio file, metadata)
    this.onSpeechStarted = () => {}; // (event): an utterance that is streamed
    this.onAudioChunk = () => {}; // (Uint8Array, { utteranceId, offsetMs, durationMs })
    this.onAlignment = () => {}; // (event): words and when they sound
    this.onSpeechFinished = () => {}; // (event)
    this.onInterrupted = () => {}; // ({ utterance_id, spoken_text, remaining_text, offset_ms })
    this.onEvent = () => {}; // (every event that is JSON)
    this.onError = () => {}; // ({ code, message, action, retryable })
    this.onClosed = () => {}; // (code, reason)
    this._waiting = []; // until the session is there
    this._connected = false;
    this._closed = false;
    this._spoken = {}; // utterance ids by the number in binary frames; the last few
    this._encoding = "hex";
    this._socket = new (WebSocket || globalThis.WebSocket)(url);
    this._socket.binaryType = "arraybuffer";
    this._socket.onmessage = ({ data }) =>
      typeof data === "string" ? this._received(JSON.parse(data)) : this._heard(data);
    this._socket.onclose = (event) => {
      this._closed = true;
      this._waiting = [];
      this.onClosed(event.code, event.reason);
    };
    this._socket.onerror = () =>
      this.onError({
        code: "connection_failed",
        message: "The connection cannot be opened, or broke.",
        action: "Check the address, and that the token is new.",
        retryable: true,
      });
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

  flush() {
    this._send({ type: "flush" });
  }

  end() {
    this._send({ type: "end" });
  }

  // Stop everything; playedMs: of the current utterance, where the player knows it.
  interrupt(playedMs) {
    this._send({ type: "interrupt", playback_offset_ms: playedMs === undefined ? null : playedMs });
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
    this._socket.close(1000);
  }

  _send(command) {
    if (this._closed) {
      throw new Error("The session is closed; open another one.");
    } else if (this._connected) {
      this._socket.send(JSON.stringify(command));
    } else if (this._waiting.length < MOST_WAITING) {
      this._waiting.push(command);
    } else {
      throw new Error("The session is not open yet, and too much is waiting for it.");
    }
  }

  _received(event) {
    if (event.type === "connection_established") {
      this._connected = true;
      for (const command of this._waiting.splice(0)) this._send(command);
      this.onConnected(event);
    } else if (event.type === "audio_response") {
      this.onAudioReceived(bytesOfHex(event.audio_data), event.metadata);
    } else if (event.type === "speech_started") {
      this._encoding = event.audio_encoding;
      this._spoken[event.utterance] = event.utterance_id;
      delete this._spoken[event.utterance - 16];
      this.onSpeechStarted(event);
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
