"""The two WebSockets of text-to-speech: `stream-input` and `multi-stream-input`."""
