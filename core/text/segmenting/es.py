"""Spanish abbreviations and limits for `core.text.segment`."""

from __future__ import annotations

from typing import Final

from core.text.segmenting.rules import SegmentRules


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RULES: Final = SegmentRules(
    short_chars=16,
    long_first_chars=120,
    density=1,
    never_end=_words(
        "sr sra srta sres sras dr dra dres dña fdo prof profa lic lcda lcdo ing arq abg hno hna"
        " ntra excmo excma ilmo ilma rvdo sta sto avda avd av ctra pza plza urb glta ee ej vid"
        " atte apdo s ss vs col calz fracc priv prov edif carr blvd cra"
    ),
    before_figure=_words(
        "núm num nº no art fig pág págs pag pags p pp vol tel teléf tfno tlf ext cp aptdo dpto"
        " depto apto apt esc ptal pta blq ref cta int"
    ),
    after_figure=_words("h hs hrs min mins seg m km cm mm kg ha pts"),
    may_end=_words(
        "etc aprox apróx hab habs dorm dorms máx mín max izq izqda izda dcha der cént cénts eur"
        " ptas dto incl int pral entlo"
    ),
    may_name=_words(
        "ud uds vd vds cía cia uu ltda jr hnos gral cap tte mons ene feb abr jun jul sep sept oct"
        " nov dic bco admón ayto"
    ),
    after_time=frozenset(),
    starters=_words(
        "el la los las un una unos unas lo al del este esta esto estos estas ese esa eso esos"
        " esas aquel aquella yo tú él ella usted ustedes nosotros nosotras ellos ellas me te se le"
        " les nos mi mis tu tus su sus nuestro nuestra nuestros nuestras y e o pero si sí no ni"
        " que qué quién quien quiénes cómo como cuándo cuando dónde donde cuánto cuánta cuántos"
        " cuántas cuál cuáles por porque para con sin de desde hasta en entre sobre tras a ante"
        " según es son era está están hay tiene tienen tengo tenemos puede puedo podemos pueden"
        " quiere quiero gustaría también además entonces luego después antes ahora hoy mañana ayer"
        " aquí allí gracias favor claro vale bueno bien perfecto cada todo toda todos todas ningún"
        " ninguna nada nadie solo sólo ya aún todavía así aunque mientras pues ha han hemos he fue"
        " será sería vamos veamos llámenos llame llámeme venga vive viven cuenta dispone cuesta"
        " cuestan valen mide"
    ),
    linkers=_words(
        "y e o u pero porque que quien donde cuando mientras si aunque pues como ni sino según"
        " cuyo cuya"
    ),
)
