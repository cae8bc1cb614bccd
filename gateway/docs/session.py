"""The WebSocket session in the OpenAPI document, which knows no WebSockets: as text and schemas."""

from __future__ import annotations

from typing import Any, Final

from core.conversation.events import schemas
from core.conversation.journal_store import RESUME_S
from core.conversation.playout import GRACE_S
from core.conversation.speaking import LEAD_MS, TEXT_IDLE_S
from core.settings import GatewaySettings
from gateway.docs.session_tables import command_markdown, event_markdown, header_markdown
from gateway.websocket import ANSWER_S

_DEFAULTS: Final = GatewaySettings()
SESSION_PATH: Final = "/api/v1/voice/streaming/stream/{session_id}"

REFUSALS: Final = {
    400: "The session id or the query cannot be read, or holds a key",
    401: "No key, or a key or token that is not valid",
    403: "Without keys: not from this computer",
    404: "No such voice agent",
    408: "It was not there as a whole in time (SEIKETSU_REQUEST_TIMEOUT)",
    409: "There is a session of that name, and no or not its last `resume_token` was sent",
    410: "A session that another version of the gateway left cannot be read",
    422: "The agent does not speak that language",
    426: "Not a WebSocket handshake",
    429: "This key has all its sessions open; see Retry-After",
    503: "This gateway has all its sessions open, is going to end, or cannot look a token up; see "
    "Retry-After",
}


def session_operation() -> dict[str, Any]:
    """The handshake, without its refusals."""
    return {
        "operationId": "streamSession",
        "tags": ["Sessions"],
        "summary": "Talk over a WebSocket",
        "description": protocol_markdown(),
        "parameters": [
            {
                "name": "session_id",
                "in": "path",
                "required": True,
                "description": "Your own name for the session.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
            },
            _query("voice_agent_id", "`agent_123` if left out."),
            _query("language", "Of texts that name none; `auto` if left out."),
            _query("format", "Of texts that name none; `mp3` if left out."),
            _query("audio_encoding", "`hex`, `base64` or `binary`; `hex` if left out."),
            _query("token", "From `POST /api/v1/voice/sessions`. Never a key."),
            _query("resume_token", "From `connection_established`: see Lost and regained."),
            _query("last_sequence", "The highest `sequence` you got, up to ten digits."),
        ],
        "responses": {"101": {"description": "The session is open"}},
    }


def session_schemas() -> dict[str, Any]:
    """The schemas of every message, by name."""
    return schemas()


def _query(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


CLOSE_CODES: Final = {
    1000: "nobody sent anything for ten minutes (SEIKETSU_SESSION_IDLE)",
    1002: "what came were no frames: not masked, of an unknown kind, or out of order",
    1006: "you took nothing for 30 seconds (SEIKETSU_SEND_STALL): the connection is cut",
    1007: "a text frame was not UTF-8",
    1008: "20 messages in a row could not be read, or one came in over 256 pieces",
    1009: "a frame was larger than 64 KB (SEIKETSU_MAX_FRAME_BYTES)",
    1011: "a fault of the gateway, or no answer to its pings",
    1012: "the gateway is going to end: after `going_away` connect again, and a session that has "
    "something left goes on; without it the gateway ended before the session could",
    4008: "what waited for you was not read within 20 seconds (two thirds of "
    "SEIKETSU_SEND_STALL); the last event is the error `client_too_slow`",
    4009: "another connection goes on with this session; the last event is the error `taken_over`",
}
"""The times are those of the settings' defaults."""


def protocol_markdown() -> str:
    """The protocol in words and tables."""
    codes = "\n".join(f"| {code} | {when} |" for code, when in CLOSE_CODES.items())
    return _PROTOCOL.format(
        commands=command_markdown(),
        events=event_markdown(),
        header=header_markdown(),
        waiting=_DEFAULTS.session_queue,
        handshake_s=f"{_DEFAULTS.request_timeout_s:g}",
        resume_s=RESUME_S,
        lead_s=f"{LEAD_MS / 1000:g}",
        idle_s=f"{TEXT_IDLE_S:g}",
        grace_s=f"{GRACE_S:g}",
        there_s=f"{ANSWER_S:g}",
        codes=f"| closed with | when |\n|---|---|\n{codes}",
    )


_PROTOCOL: Final = """\
A WebSocket: `ws://HOST/api/v1/voice/streaming/stream/session_123`. It lets in whom the other \
routes let in: by a key in the headers, or without keys programs on this computer. A browser sends \
the token of `POST /api/v1/voice/sessions` by offering the subprotocols `seiketsu` and \
`seiketsu.token.TOKEN`, or as `?token=TOKEN`, which whoever stands between may log. A refused \
handshake is answered with the status and the body of every error; one that is not there as a \
whole {handshake_s} s after it was begun with 408 (SEIKETSU_REQUEST_TIMEOUT).

Messages are JSON objects in text frames, told apart by `type`. The whole of a short talk:

```
-> {{"type": "synthesize", "text": "Hello! How can I help you today?"}}
<- {{"type": "audio_response", "audio_data": "...", "metadata": {{...}}}}
```

and of one whose text a language model writes:

```
-> {{"type": "text", "text": "Let me ", "utterance_id": "a"}}
-> {{"type": "text", "text": "look. One moment", "utterance_id": "a"}}
<- speech_started, alignment, audio_chunk, audio_chunk ...
-> {{"type": "end", "utterance_id": "a"}}   or   {{"type": "interrupt"}}
<- ... speech_finished                    or   interrupted, accepted
```

Any command may carry a `command_id` (1 to 64 characters). It comes back in the answer; a \
command without an answer of its own is acknowledged by `accepted`. A command that cannot be \
carried out is answered by `error` with its `command_id`, where one can be read. Of the last 256 \
a repeated one is acknowledged again and not carried out twice, except `ping` and `get_stats`. \
Of what may be left out, null counts as left out.

{commands}

Every event carries `sequence`: 1, 2, 3 and so on in the session, binary frames included. What an \
interruption drops leaves a gap.

{events}

Utterances are spoken in the order they were begun; {waiting} (SEIKETSU_SESSION_QUEUE) may wait \
behind the one being spoken, the next gets `session_busy`. One whose text is being written is \
waited for: `end` it, or what is behind it waits until the text did not grow for {idle_s} s. A \
streamed utterance is \
sent {lead_s} s ahead of its hearing; report `playback` where playing began late. After \
`interrupt` no audio of what was asked before is sent; text that still arrives with the old \
`utterance_id` is dropped, so give your texts ids, and name them in `flush` and `end`: a late \
one of a text that was interrupted then does nothing to the next. An utterance is known for \
{grace_s} s after it was heard by the clock, for players that are behind: an `interrupt` that \
names it, or whose offset follows a `playback` of it, tells how much of it was heard, and \
everything after it as not heard. An error with an `utterance_id` ends that utterance, and the \
next one follows; what still arrives for it is dropped up to `end`. A frame of yours may have 64 \
KB, unless `connection_established` tells otherwise; an `audio_response` over 900,000 bytes is \
answered by `frame_too_large`: use `stream`.

## Lost and regained

A session that has streamed something (`text`, or `synthesize` with `stream`) outlives its \
connection, and its gateway, by {resume_s} s. Connect again under the same id, with the same key \
or another token of it, and say `?resume_token=TOKEN&last_sequence=N`: the token of the last \
`connection_established`, and the highest `sequence` you got. A page may offer the subprotocol \
`seiketsu.resume.TOKEN` beside `seiketsu` instead of the first, so that the token stands in no \
URL. The new `connection_established` \
says `resumed` and holds the next token; the one you sent is used up with your next message.

What you did not get is spoken again from the start of the clause it belongs to: `speech_resumed` \
says from where on to drop what you have of that utterance, and what was asked behind it follows. \
`texts` says how much the gateway has of each text: write on from there, or give commands a \
`command_id` and send again those that were not acknowledged. The numbers go on from \
`last_sequence`. What was interrupted stays so. Where an utterance ended by an error or was \
interrupted and you did not get that event, it comes again, after `connection_established`. An \
utterance that was sent wholly and is still being heard can be interrupted; how much of it was \
heard is then `estimated`, unless you say it.

A second connection with the token takes a session over that still lives: the first gets the \
error `taken_over` and is closed with 4009; it needs no free place beside the one of the first. \
A token for one agent or language does not regain a session of another. Without the token, or \
with another one, the handshake is refused with 409 as long as a session that has streamed \
something lives or can be regained. One that has not is known to its gateway process alone: there \
another connection of its id is refused, too, unless the client of the first gives no sign of life \
within {there_s} s of a ping, so that who lost a connection may come back at once. In another \
process such an id opens a session of its own: it gets nothing of the first, and the name is \
that one's which streams first; the other is told `resumability`. Give your sessions ids that \
nobody guesses.

Where nothing is left of a session, a new one begins and the error `session_expired` is its second \
event: so it is where nothing was streamed, and nothing is lost then but what was configured. \
Close with 1000, with 1001 or without a code (1005) where you are done: nothing is kept then. A \
connection that breaks (1006) is lost, and can be regained.

A gateway that is going to end speaks on for a few seconds, stops at the end of a clause, sends \
`going_away` and closes with 1012: connect again after `retry_after_ms`, which differs from \
session to session. Until then it takes \
`interrupt`, `playback`, `ping` and `get_stats`; another command is not acknowledged: send it \
again in the session that goes on. Where nothing was streamed, or it cannot be regained, what was \
asked is spoken to its end first, such a command is answered with `busy`, and a new session begins \
where you connect again. While its state database does not answer a session goes on and cannot be \
regained; `resumable` and `resumability` say so. What is kept are texts and places in them, \
never audio.

## Binary frames

With the encoding `binary` audio comes in binary frames instead of `audio_chunk`: a header, \
numbers with the high byte first, and then the audio.

{header}

## Close codes

{codes}
"""
