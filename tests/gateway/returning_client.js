// The client that the gateway serves, run by k6: its connection is cut while it is spoken to.

import { check } from "k6";
import { WebSocket } from "k6/experimental/websockets";
import { VoiceStreamingClient } from "../../gateway/docs/voice-streaming-client.js";

export const options = { thresholds: { checks: ["rate==1"] } };

export default function () {
  const voiceStream = new VoiceStreamingClient({
    sessionId: "s1",
    baseUrl: __ENV.SEIKETSU_URL,
    WebSocket,
  });
  const resumed = [];
  const finished = [];
  const limit = setTimeout(() => voiceStream.close(), 8000);
  voiceStream.onSpeechResumed = ({ utterance_id, offset_ms }) => {
    resumed.push(`${utterance_id} ${offset_ms}`);
    voiceStream.text("Three.", "b");
    voiceStream.end();
  };
  voiceStream.onSpeechFinished = ({ metadata }) => {
    finished.push(metadata.text);
    if (finished.length < 2) return;
    clearTimeout(limit);
    voiceStream.close();
  };
  voiceStream.onClosed = () => {
    check(resumed.join(), { "it came back": (r) => r === "a 0" });
    check(finished.join("|"), { "all was spoken": (t) => t === "One two.|Three." });
  };
  voiceStream.synthesize("One two.", { stream: true, utterance_id: "a" });
}
