"""An emulator of the ElevenLabs speech API: a real server on a real port, with seeded faults."""
