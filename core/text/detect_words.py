"""Words that only one of our languages has, for short texts without much else to go by.

What both write alike, or one has borrowed, is missing: "no", "me", "real", "parking", "tour".
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Words(NamedTuple):
    """The words of a language, in lower case."""

    grammar: frozenset[str]
    """What holds a sentence together, and greetings."""
    words: frozenset[str]
    """Those, and the words of the trade."""


def _words(grammar: str, trade: str) -> Words:
    return Words(frozenset(grammar.split()), frozenset(grammar.split()) | frozenset(trade.split()))


ENGLISH: Final = _words(
    """the is are was were be been am and or of to in on at for from with without by about this
    that these those it its it's i i'm i'd i'll i've you your you're we our we're us they their
    he's she what what's which who whose when where why how can could would will should may
    might must do does did don't doesn't have had not there there's here let's some any much
    many more very just still also if but so then than because please yes yeah hello hi hey dear
    thanks thank welcome sorry okay sure good morning afternoon evening my mine one two three""",
    """house houses home homes apartment apartments flat condo condos under over room rooms
    bedroom bedrooms bath bathroom bathrooms kitchen garden backyard yard floor floors building
    street avenue road rent rental lease landlord tenant price cost costs deposit budget month
    monthly year week day today tomorrow buy sell listing agent viewing visit open available
    furnished included allowed pets pool view near downtown neighborhood school square feet large
    small big new first second call""",
)

SPANISH: Final = _words(
    """el la los las un una unos unas de del al y o u que qué en por para con sobre entre desde
    hasta es está están esta este esto estos estas ese esa eso son ser estar hay fue soy estoy
    eres somos yo tú usted ustedes nosotros ellos ella su sus mi mis tu tus nos se lo le les
    mucho mucha muchos muchas muy más pero porque como cómo cuando cuándo cuanto cuánto cuanta
    cuántos cuántas donde dónde quien quién cual cuál si sí también ya aquí allí gracias hola
    buenos buenas días dias tardes noches favor claro vale perfecto perdone disculpe señor
    señora tiene tengo puede puedo quiero quiere busco necesito dos tres cuatro""",
    """casa casas piso pisos departamento apartamento vivienda habitación habitacion habitaciones
    dormitorio dormitorios baño baños cocina jardín jardin terraza ático atico garaje planta
    edificio calle avenida barrio alquiler alquilar renta venta vender comprar precio precios
    fianza gastos mes mensual año semana día dia hoy mañana visita visitar ver disponible
    amueblado incluido incluida mascotas piscina gimnasio vistas cerca centro metros cuadrados
    grande pequeño nuevo nueva primera segunda llamar llame dueño propietario inquilino contrato""",
)

HAN_GRAMMAR: Final = frozenset(
    "的了是吗嗎呢吧啊我你您他她们們这這那哪有没沒不在和跟与與或也都就还還要想请請问問能会會可以什么麼怎样樣"
    "多少几幾给給对對把被从從到为為很好谢謝"
)
