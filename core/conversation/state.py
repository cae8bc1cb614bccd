"""What a session is, apart from the tasks and sockets that serve it: all that another process would
need to go on with it."""

from __future__ import annotations

from array import array
from hashlib import blake2b

import msgspec

from core.conversation.audio_frames import AudioEncoding
from core.conversation.utterance import Utterance
from core.text.languages import AUTO

KNOWN_COMMANDS = 256
KNOWN_UTTERANCES = 64


class SessionConfig(msgspec.Struct, frozen=True):
    """What is used for every utterance that names nothing else."""

    voice_agent_id: str
    language: str = AUTO
    """One of ours, or `auto`."""
    format: str = "mp3"
    audio_encoding: AudioEncoding = "hex"
    voice_agent_fixed: bool = False
    """Whoever opened the session may not choose another agent."""
    language_fixed: bool = False


class Names:
    """The last so many names, in eight bytes each."""

    __slots__ = ("_digests", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._digests = array("Q")

    def add(self, name: str) -> None:
        """Know the name; the oldest is forgotten where there are too many."""
        self.add_digest(_digest(name))

    def add_digest(self, digest: int) -> None:
        """Know the name that it stands for."""
        self._digests.append(digest)
        if len(self._digests) > self._most:
            del self._digests[0]

    def digests(self) -> list[int]:
        """What stands for the names, the oldest first; eight bytes each."""
        return self._digests.tolist()

    @property
    def newest(self) -> int:
        """What stands for the name that was added last."""
        return self._digests[-1]

    def __contains__(self, name: str) -> bool:
        return bool(self._digests) and _digest(name) in self._digests


class SessionState(msgspec.Struct, eq=False):
    """Everything a session has to remember."""

    session_id: str
    tenant: str
    config: SessionConfig
    sequence: int = 0
    """Of the last event that was put among what waits to be sent."""
    utterances: int = 0
    """How many there were; the number of the last."""
    writing: Utterance | None = None
    """Whose text is still arriving."""
    waiting: list[Utterance] = []
    """In the order they are spoken; the first is being spoken."""
    sent: list[Utterance] = []
    """Sent wholly and not yet heard to their end, or just now."""
    told: list[Utterance] = []
    """Of a session that was lost: those that came to their end before."""
    commands: Names = msgspec.field(default_factory=lambda: Names(KNOWN_COMMANDS))
    """Ids of commands that were carried out."""
    ended: Names = msgspec.field(default_factory=lambda: Names(KNOWN_UTTERANCES))
    """Ids of utterances whose text was complete."""
    cut: Names = msgspec.field(default_factory=lambda: Names(KNOWN_UTTERANCES))
    """Ids of utterances that failed or were interrupted."""

    def next_sequence(self) -> int:
        """The number of an event that is put among what waits to be sent now."""
        self.sequence += 1
        return self.sequence

    def alive(self, utterance_id: str) -> Utterance | None:
        """The utterance of that id, if it is not heard to its end."""
        for utterance in (*self.sent, *self.waiting):
            if utterance.id == utterance_id:
                return utterance
        return None

    def known(self, utterance_id: str) -> bool:
        """Whether an utterance had that id lately."""
        return (
            self.alive(utterance_id) is not None
            or (self.writing is not None and self.writing.id == utterance_id)
            or utterance_id in self.ended
            or utterance_id in self.cut
        )


class Counts(msgspec.Struct):
    """What a session has done; see `SessionStats`."""

    served: int = 0
    failed: int = 0
    interrupted: int = 0
    cached: int = 0
    characters: int = 0
    audio_bytes: int = 0
    processing_ms: float = 0.0


def _digest(name: str) -> int:
    # The same in every process, unlike `hash`.
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())
