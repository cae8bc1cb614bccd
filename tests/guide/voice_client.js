// The guide's example in JavaScript, run by k6 with the client that the gateway serves.

import { check } from "k6";
import { WebSocket } from "k6/experimental/websockets";
import { VoiceStreamingClient } from "../../gateway/docs/voice-streaming-client.js";

export const options = { thresholds: { checks: ["rate==1"] } };

export default function () {
  const voiceStream = new VoiceStreamingClient({
    sessionId: "session_123",
    voiceAgentId: "agent_123",
    language: "en",
    baseUrl: __ENV.SEIKETSU_URL,
    WebSocket,
  });
  let replies = 0;
  const limit = setTimeout(() => {
    check(replies, { "both texts were spoken": (n) => n === 2 });
    voiceStream.close();
  }, 10000);
  voiceStream.onAudioReceived = (audioData, metadata) => {
    replies += 1;
    check(audioData, {
      "it is an MP3 file": (a) => a.length > 4000 && a[0] === 0xff && (a[1] & 0xe0) === 0xe0,
    });
    check(metadata, {
      "it says how long it is": (m) => m.duration_ms > 500,
      "it says how long it took": (m) => m.processing_time_ms > 0,
      "it says whether it was cached": (m) => typeof m.cached === "boolean",
    });
    if (replies === 1) voiceStream.synthesize("");
  };
  voiceStream.onError = (error) => {
    check(error, { "an empty text is an error with a code": (e) => e.code === "text_empty" });
    voiceStream.synthesize("Thank you for calling.");
    voiceStream.onAudioReceived = (audioData) => {
      check(audioData, { "the session goes on after an error": (a) => a.length > 4000 });
      replies += 1;
      check(replies, { "both texts were spoken": (n) => n === 2 });
      stream(() => clearTimeout(limit));
    };
  };
  voiceStream.synthesize("Hello! How can I help you today?");

  function stream(done) {
    const heard = { hex: 0, base64: 0, binary: 0 };
    let encoding = "";
    let wanted = ["hex", "base64", "binary"];
    const next = () => {
      encoding = wanted.shift();
      voiceStream.configure({ audio_encoding: encoding, format: "ulaw" });
      voiceStream.text("Yes, ", encoding);
      voiceStream.text("it is.", encoding);
      voiceStream.end();
    };
    voiceStream.onAudioChunk = (audioData, { utteranceId, durationMs }) => {
      check(utteranceId, { "audio says whose it is": (id) => id === encoding });
      check(audioData.length / 8, { "and how long": (ms) => Math.abs(ms - durationMs) < 2 });
      heard[encoding] += audioData.length;
    };
    voiceStream.onSpeechFinished = () => (wanted.length ? next() : voiceStream.interrupt(0));
    voiceStream.onInterrupted = ({ utterance_id, spoken_text, remaining_text }) => {
      if (utterance_id !== "binary") return;
      check(heard, {
        "every encoding carries the same": (h) => h.hex > 2000 && h.hex === h.base64 && h.hex === h.binary,
      });
      check(spoken_text + remaining_text, { "no text is lost": (t) => t === "Yes, it is." });
      done();
      voiceStream.close();
    };
    next();
  }
}
