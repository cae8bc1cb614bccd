"""Every error the core raises, as one tree.

    SeiketsuError
    ├── RequestError            what was asked cannot be done; asking again will not help
    │   ├── InvalidRequest          a field is missing, of the wrong type or out of range
    │   ├── TextEmpty               nothing in the text can be spoken
    │   ├── TextTooLong             the text is over the limit of one request
    │   ├── UnsupportedLanguage     no voice for that language
    │   ├── UnsupportedFormat       no encoder for that output format
    │   ├── BodyTooLarge            the request body is over the limit
    │   ├── UnknownAgent            no such voice agent for this owner
    │   ├── FrameTooLarge           the audio does not fit into one frame of a session
    │   ├── KeyInUrl                a key was sent in a URL, which others may see
    │   ├── AgentExists             an agent has that id already
    │   ├── AgentChanged            the agent is not as the request expects it
    │   ├── TooManyAgents           an owner has as many agents as there may be
    │   ├── TooManyTexts            more texts than one request or job may hold
    │   ├── JobNotFound             no such job of this owner, or its time is over
    │   ├── JobEnded                the job has ended, so that it cannot be cancelled
    │   ├── SessionInUse            a session of that name is alive or may be regained
    │   ├── SessionExpired          nothing is left of a session that was to be regained
    │   ├── TakenOver               another connection goes on with this session
    │   ├── NoAudioRoom             the audio of an owner's jobs takes all the room it may
    │   ├── AudioTooLarge           more audio than can be kept behind one link
    │   └── AudioNotFound           an audio link that is unknown, forged or past its time
    ├── AccessError             the caller may not ask
    │   ├── KeyRequired             no key was sent
    │   ├── KeyInvalid              the key is not known
    │   ├── TokenInvalid            a session token that is unknown, used or past its time
    │   └── OriginRefused           the request came from a web page or host that is not allowed
    ├── Busy                    no room now; carries when to come back
    │   ├── SessionBusy             a session has all the texts that may wait in it
    │   ├── ClientTooSlow           a client of a session does not take what is sent to it
    │   ├── SessionsFull            this process has all the sessions it takes
    │   └── TooManySessions         this key has all the sessions it may have
    │   └── TooManyJobs             this owner has as many unfinished jobs as it may
    ├── SpeechError             the request was fine, yet no whole speech could be made
    │   ├── ProviderError           one provider failed (`provider` says which)
    │   │   ├── ProviderUnavailable     not reachable, reset, or a server error
    │   │   ├── ProviderBusy            the provider refuses for load
    │   │   ├── ProviderRejected        the provider refuses this request or this account
    │   │   ├── ProviderSilent          no audio in time
    │   │   ├── BadAudio                an answer without audible speech, or with noise for speech
    │   │   └── StreamTruncated         audio ended before the text did
    │   ├── GaveUp                  a text of a job that nobody brought to an end
    │   ├── AllProvidersFailed      every provider of the chain failed; carries the causes
    │   └── DeadlineExceeded        the time promised to the caller is over
    ├── StoreError              a store (Redis) could not answer; a cache treats it as a miss
    └── ConfigurationError      the settings cannot work; raised at start, never in a request

`code` is stable and part of the public API. `retryable` says whether the same request may succeed
if it is made again without changes. The core knows no HTTP status: `gateway/errors.py` maps codes.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors_base import AccessError as AccessError
from core.errors_base import Busy as Busy
from core.errors_base import RequestError as RequestError
from core.errors_base import SeiketsuError as SeiketsuError
from core.errors_session import ClientTooSlow as ClientTooSlow
from core.errors_session import FrameTooLarge as FrameTooLarge
from core.errors_session import SessionBusy as SessionBusy
from core.errors_session import SessionExpired as SessionExpired
from core.errors_session import SessionInUse as SessionInUse
from core.errors_session import SessionsFull as SessionsFull
from core.errors_session import TakenOver as TakenOver
from core.errors_session import TooManySessions as TooManySessions


class InvalidRequest(RequestError):
    """A field is missing, of the wrong type or out of range."""

    action = "Correct the field that the message names; the docs page lists every field."


class TextEmpty(RequestError):
    """The text holds nothing that can be spoken."""

    code = "text_empty"
    action = "Send a text with at least one letter or digit."


class TextTooLong(RequestError):
    """The text is longer than one request may be."""

    code = "text_too_long"
    action = "Split the text and send the parts as requests of their own."


class UnsupportedLanguage(RequestError):
    """No voice speaks that language."""

    code = "unsupported_language"
    action = "Use one of the languages that the message lists."


class UnsupportedFormat(RequestError):
    """That output format is not offered."""

    code = "unsupported_format"
    action = "Use one of the formats that the message lists."


class BodyTooLarge(RequestError):
    """The request body is larger than allowed."""

    code = "body_too_large"
    action = "Send a smaller body; the limit is in the message."


class UnknownAgent(RequestError):
    """There is no voice agent with that id."""

    code = "agent_not_found"
    action = "Check `voice_agent_id`; `agent_123` exists on a new installation."


class TooManyTexts(RequestError):
    """There are more texts than one request may hold."""

    code = "too_many_texts"
    action = "Send fewer texts, or use `background_processing` where the message offers it."


class JobNotFound(RequestError):
    """There is no such job, or its time is over."""

    code = "job_not_found"
    action = "Check the job's id; a job is kept for a day unless the operator chose otherwise."


class JobEnded(RequestError):
    """The job has ended and was left as it is."""

    code = "job_ended"
    action = "Read its results; `?remove=true` removes it with its audio."


class NoAudioRoom(RequestError):
    """The audio of your jobs takes all the room it may."""

    code = "no_audio_room"
    action = "Fetch and remove finished jobs, then send these texts again."


class AudioTooLarge(RequestError):
    """The audio is larger than what can be kept behind a link."""

    code = "audio_too_large"
    action = "Ask for a compressed format such as `mp3`, or stream the audio."


class AgentExists(RequestError):
    """There is a voice agent with that id already."""

    code = "agent_exists"
    action = "Choose another id, or change the agent with PUT."


class AgentChanged(RequestError):
    """The voice agent is not as the request's condition expects it."""

    code = "agent_changed"
    action = "Read it again, apply your change to what it is now, and send that ETag."


class TooManyAgents(RequestError):
    """There are as many voice agents as one owner may have."""

    code = "too_many_agents"
    action = "Delete an agent that is not used any more."


class KeyInUrl(RequestError):
    """A key was sent in a URL, where logs and histories keep it."""

    code = "key_in_url"
    action = (
        "Send the key as a header; from a browser, ask `POST /api/v1/voice/sessions` for a token. "
        "Consider the key as known to others."
    )


class AudioNotFound(RequestError):
    """This audio link is unknown or its time is over."""

    code = "audio_not_found"
    action = "Ask for the synthesis again; links live 15 minutes at the least."


class KeyRequired(AccessError):
    """This gateway needs a key and none was sent."""

    code = "key_required"
    action = "Send `Authorization: Bearer KEY` or `xi-api-key: KEY`."


class KeyInvalid(AccessError):
    """The key that was sent is not known here."""

    code = "key_invalid"
    action = "Check the key; the operator sets them in SEIKETSU_API_KEYS."


class TokenInvalid(AccessError):
    """The session token is unknown, was used already, or its time is over."""

    code = "token_invalid"
    action = "Ask `POST /api/v1/voice/sessions` for a new token; each opens one session."


class OriginRefused(AccessError):
    """Without keys this gateway answers only programs on this computer, not web pages."""

    code = "origin_refused"
    action = "Call it from this computer by its loopback address, or set SEIKETSU_API_KEYS."


class TooManyJobs(Busy):
    """As many jobs are unfinished as one owner may have."""

    code = "too_many_jobs"
    action = "Wait until a job has ended, or cancel one."


class SpeechError(SeiketsuError):
    """No whole speech could be made."""

    code = "speech_failed"
    retryable = True


class ProviderError(SpeechError):
    """One voice provider failed.

    `provider` names it; `vendor_code` is the provider's own code where it gave one.
    """

    code = "provider_failed"

    def __init__(
        self,
        message: str = "",
        *,
        provider: str,
        vendor_code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.provider = provider
        self.vendor_code = vendor_code


class ProviderUnavailable(ProviderError):
    """The voice provider cannot be reached or had an error of its own."""

    code = "provider_unavailable"
    retryable = True


class ProviderBusy(ProviderError):
    """The voice provider refuses for load."""

    code = "provider_busy"
    retryable = True


class ProviderRejected(ProviderError):
    """The voice provider refuses this request or this account."""

    code = "provider_rejected"
    retryable = False
    action = "Check the provider's key, credits, voice and model; the message has its code."


class ProviderSilent(ProviderError):
    """The voice provider sent no audio in time."""

    code = "provider_silent"
    retryable = False
    action = "Its time is over; ask again, and check the provider's status page if it stays."


class BadAudio(ProviderError):
    """The voice provider sent something that is not speech."""

    code = "bad_audio"
    retryable = False
    action = "The gateway does not repeat it by itself; ask again, and report it if it stays."


class StreamTruncated(ProviderError):
    """The voice provider's audio ended before the text did."""

    code = "stream_truncated"
    retryable = False
    action = "What was heard is not the whole; the gateway cannot take it back, so ask again."


class GaveUp(SpeechError):
    """This text was begun too often without coming to an end."""

    code = "gave_up"
    action = "Send the text alone to see what is wrong with it."


class AllProvidersFailed(SpeechError):
    """No voice provider could speak the text."""

    code = "all_providers_failed"
    retryable = True

    def __init__(self, message: str = "", *, causes: Sequence[SeiketsuError] = ()) -> None:
        waits = [c.retry_after_s for c in causes if c.retry_after_s is not None]
        super().__init__(message, retry_after_s=min(waits, default=None))
        self.causes = tuple(causes)
        self.retryable = any(cause.retryable for cause in causes)


class DeadlineExceeded(SpeechError):
    """Speech did not start within the promised time."""

    code = "deadline_exceeded"
    retryable = True


class StoreError(SeiketsuError):
    """A store could not answer."""

    code = "store_unavailable"
    retryable = True


class ConfigurationError(SeiketsuError):
    """The settings cannot work together."""

    code = "configuration_error"
    action = "Correct the setting that the message names and start again."
