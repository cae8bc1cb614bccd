"""Faults of the emulator's sockets, and the error that each one is."""

from __future__ import annotations

from typing import Any

from core.errors import (
    BadAudio,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderSilent,
    ProviderUnavailable,
    StreamTruncated,
)

SAID = "We are sorry, something went wrong. You are not charged for this request."
FAULTS: list[tuple[dict[str, Any], type[ProviderError]]] = [
    ({"kind": "unanswered"}, ProviderUnavailable),
    ({"kind": "service_unavailable"}, ProviderUnavailable),
    ({"kind": "concurrent_limit_exceeded"}, ProviderBusy),
    ({"kind": "invalid_api_key"}, ProviderRejected),
    ({"kind": "reset"}, ProviderUnavailable),
    ({"kind": "silent"}, ProviderUnavailable),
    ({"kind": "stall", "after_frames": 0}, ProviderSilent),
    ({"kind": "empty"}, BadAudio),
    ({"kind": "broken_json"}, BadAudio),
    ({"kind": "close", "code": 1008, "message": "voice_settings field must"}, ProviderRejected),
    ({"kind": "close", "code": 1008, "message": SAID}, ProviderUnavailable),
    ({"kind": "close", "code": 1012, "message": "restart"}, ProviderUnavailable),
    ({"kind": "close", "code": 1000, "message": "bye"}, ProviderUnavailable),
    ({"kind": "error_frame", "error": "quota_exceeded", "code": 1008}, ProviderRejected),
    ({"kind": "error_frame", "error": "quota_exceeded"}, ProviderRejected),
    ({"kind": "error_frame", "error": "voice_id_does_not_exist", "code": 1008}, ProviderRejected),
    ({"kind": "error_frame", "error": "input_timeout_exceeded", "code": 1008}, ProviderUnavailable),
    ({"kind": "error_frame", "error": "max_active_conversations", "code": 1008}, ProviderBusy),
    (
        {"kind": "error_frame", "error": "invalid_api_key", "with_context": False},
        ProviderRejected,
    ),
    ({"kind": "truncate", "after_frames": 1}, StreamTruncated),
    ({"kind": "truncate", "after_frames": 1, "end": "clean"}, StreamTruncated),
    ({"kind": "stall", "after_frames": 1}, StreamTruncated),
    ({"kind": "silent", "after_frames": 1}, StreamTruncated),
    ({"kind": "close", "after_frames": 1}, StreamTruncated),
    ({"kind": "error_frame", "after_frames": 1, "error": "quota_exceeded"}, StreamTruncated),
    ({"kind": "no_final"}, StreamTruncated),
]
