"""The account behind the keys: plan, credits, and how many requests run at once."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.emulator.catalogue import PLANS, Family, Model
from benchmarks.emulator.errors import Refusal

_KEY_SHAPE: Final = re.compile(r"sk_[0-9a-f]{48}")


class Gate:
    """Requests at once for one family of models: over the limit they wait a little, then 429.

    The vendor's table gives flash and multilingual limits of their own; that they are counted
    apart is assumed.
    """

    def __init__(self, limit: int, queue_s: float) -> None:
        self.limit = limit
        self.active = 0
        self.peak = 0
        self.queued = 0
        self.refused = 0
        self._queue_s = queue_s
        self._places = asyncio.Semaphore(limit)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; it is free again the moment the block is left, however it is left.

        Raises:
            Refusal: none became free within the queue's time.
        """
        if self._places.locked():
            self.queued += 1
            try:
                async with asyncio.timeout(self._queue_s):
                    await self._places.acquire()
            except TimeoutError:
                self.refused += 1
                raise Refusal(
                    "concurrent_limit_exceeded",
                    f"Too many concurrent requests. Your current subscription is associated with "
                    f"a maximum of {self.limit} concurrent requests.",
                ) from None
        else:
            await self._places.acquire()
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            yield
        finally:
            self.active -= 1
            self._places.release()


class Account:
    """One account; every accepted key belongs to it."""

    def __init__(
        self,
        plan: str,
        *,
        keys: frozenset[str],
        concurrency: int | None,
        credit_limit: int | None,
        queue_s: float,
    ) -> None:
        self.tier = plan
        self.plan = PLANS[plan]
        self.credit_limit = self.plan.credits if credit_limit is None else credit_limit
        self.credits_used = 0
        self._keys = keys
        flash, slow = concurrency or self.plan.flash, concurrency or self.plan.multilingual
        self.gates = {"flash": Gate(flash, queue_s), "multilingual": Gate(slow, queue_s)}

    def gate(self, family: Family) -> Gate:
        """The gate of a family; turbo shares that of flash."""
        return self.gates["multilingual" if family == "multilingual" else "flash"]

    @property
    def active(self) -> int:
        """Requests under way in the whole workspace."""
        return sum(gate.active for gate in self.gates.values())

    def check_key(self, key: str | None) -> None:
        """Without configured keys any key is good.

        Raises:
            Refusal: no key, or one that is not known.
        """
        if not key:
            raise Refusal("missing_api_key")
        if not self._keys or key in self._keys:
            return
        raise Refusal("invalid_api_key" if _KEY_SHAPE.fullmatch(key) else "unauthorized")

    def price(self, model: Model, chars: int) -> int:
        """Credits of a text, rounded up."""
        return math.ceil(model.credits_per_char * chars)

    def charge(self, price: int) -> None:
        """Take the credits of a request.

        Raises:
            Refusal: not enough are left.
        """
        left = self.credit_limit - self.credits_used
        if price > left:
            raise Refusal(
                "quota_exceeded",
                f"This request exceeds your quota of {self.credit_limit}. You have {left} credits "
                f"remaining, while {price} credits are required for this request.",
            )
        self.credits_used += price

    def subscription(self) -> dict[str, Any]:
        """As `GET /v1/user/subscription` shows it."""
        return {
            "tier": self.tier,
            "character_count": self.credits_used,
            "character_limit": self.credit_limit,
            "max_character_limit_extension": None,
            "max_credit_limit_extension": 0,
            "can_extend_character_limit": False,
            "allowed_to_extend_character_limit": False,
            "next_character_count_reset_unix": 1_800_000_000,
            "voice_slots_used": 0,
            "professional_voice_slots_used": 0,
            "professional_voice_slots_used_in_workspace": 0,
            "voice_limit": 30,
            "max_voice_add_edits": 95,
            "voice_add_edit_counter": 0,
            "professional_voice_limit": 1,
            "can_extend_voice_limit": False,
            "can_use_instant_voice_cloning": True,
            "can_use_professional_voice_cloning": self.plan.rank >= 2,
            "currency": "usd",
            "current_overage": {"amount": "0", "currency": "usd"},
            "status": "free" if self.tier == "free" else "active",
            "billing_period": "monthly_period",
            "character_refresh_period": "monthly_period",
            "next_invoice": None,
            "open_invoices": [],
            "has_open_invoices": False,
        }

    def user(self) -> dict[str, Any]:
        """As `GET /v1/user` shows it."""
        return {
            "user_id": "emulated-user",
            "workspace_id": "emulated-workspace",
            "subscription": self.subscription(),
            "is_new_user": False,
            "is_onboarding_completed": True,
            "is_onboarding_checklist_completed": True,
            "show_compliance_terms": False,
            "xi_api_key": None,
            "xi_api_key_preview": None,
            "can_use_delayed_payment_methods": False,
            "first_name": "Emulated",
            "created_at": 1_690_000_000,
            "seat_type": "workspace_admin",
        }
