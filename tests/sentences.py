"""Ten sentences of a real-estate call in each language, in words alone, to be recognised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.text.languages import Language
from tests.voices.server import SENTENCES as ENGLISH

SPANISH: Final = (
    "El piso tiene dos habitaciones y un balcón muy grande.",
    "¿Le gustaría visitar la casa el sábado por la mañana?",
    "El precio de venta es de trescientos cincuenta mil euros.",
    "La calefacción y el agua están incluidas en el alquiler.",
    "Puedo enviarle el plano por correo electrónico ahora mismo.",
    "El edificio fue reformado el año pasado y tiene ascensor nuevo.",
    "Espere un momento mientras compruebo las fechas disponibles.",
    "Hay un colegio y un supermercado muy cerca de la vivienda.",
    "El propietario está dispuesto a negociar si firma este mes.",
    "Gracias por llamar, nuestro agente le contactará mañana.",
)

MANDARIN: Final = (
    "这套公寓有两间卧室和一个很大的阳台。",
    "您想在星期六上午来看这套房子吗？",
    "这套房子的售价是三百五十万元。",
    "每月的租金包括暖气费和水费。",
    "我现在就可以把户型图发到您的邮箱。",
    "这栋大楼去年重新装修过，还有新的电梯。",
    "请稍等，我帮您查一下可以看房的时间。",
    "附近步行就能到学校和超市。",
    "如果您这个月签约，房东愿意再谈价格。",
    "感谢您的来电，我们的顾问明天会联系您。",
)

SENTENCES: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": ENGLISH,
    "es": SPANISH,
    "zh": MANDARIN,
}

MOST_ERRORS: Final[Mapping[Language, float]] = {"en": 0.03, "es": 0.06, "zh": 0.08}
"""Share of words (in Mandarin of characters) that the recogniser may get wrong."""
