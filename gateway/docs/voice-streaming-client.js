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
// Where the gateway has keys, a page gets a `token` from its own server, which asks for it with
// `POST /api/v1/voice/sessions`; a token opens one session. A key never belongs into a page.

const MOST_WAITING = 8; // the gateway takes no more at once

export class VoiceStreamingClient {
  // baseUrl: of the gateway, else where this file came from; WebSocket: another one than the platform's own.
  constructor({ sessionId, voiceAgentId, language, token, baseUrl, WebSocket } = {}) {
    const base = baseUrl || originOfThisFile() || "http://localhost:8000";
    const query = [];
    const options = { voice_agent_id: voiceAgentId, language, token };
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined && value !== null) query.push(`${name}=${encodeURIComponent(value)}`);
    }
    const path = `/api/v1/voice/streaming/stream/${encodeURIComponent(sessionId)}`;
    const url = base.replace(/^http/, "ws") + path + (query.length ? `?${query.join("&")}` : "");

    this.onConnected = () => {}; // (event): `connection_established`
    this.onAudioReceived = () => {}; // (Uint8Array of a whole audio file, metadata)
    this.onError = () => {}; // ({ code, message, action, retryable })
    this.onClosed = () => {}; // (code, reason)
    this._waiting = []; // until the session is there
    this._connected = false;
    this._closed = false;
    this._socket = new (WebSocket || globalThis.WebSocket)(url);
    this._socket.onmessage = (message) => this._received(JSON.parse(message.data));
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

  // Have a text spoken; options as in the protocol: language, format, command_id, ...
  synthesize(text, options = {}) {
    this._send({ type: "synthesize", text, ...options });
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
    } else if (event.type === "error") {
      this.onError(event);
    }
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
