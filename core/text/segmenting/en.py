"""English abbreviations and limits for `core.text.segment`."""

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
        "mr mrs ms mx ca dr prof rev messrs capt lt sgt supt mt e.g i.e eg ie cf vs attn ste apt"
        " bldg rm p.o"
    ),
    before_figure=_words("no nos num fig p pp vol art sec ch lot ref tel ext"),
    after_figure=_words("in min mins sec secs hr hrs wk mo"),
    may_end=_words(
        "etc al approx est incl excl ft sq lb lbs oz yd yds mi km cm mm kg sqft yr yrs bd bds br"
        " brs ba bas bdrm bdrms bsmt util utils max mph dept apts esq"
    ),
    may_name=_words(
        "st ave av blvd rd ln ct pl sq pkwy hwy rte ter terr cir trl jr sr inc ltd co corp plc"
        " bros intl natl assn hon gen col gov sen rep pres ft jan feb mar apr jun jul aug sep sept"
        " oct nov dec mon tue tues wed thu thur thurs fri sat sun ph.d ne nw se sw"
    ),
    after_time=_words(
        "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs"
        " fri sat sun january february march april may june july august september october november"
        " december est edt cst cdt mst mdt pst pdt utc gmt et ct mt pt eastern central mountain"
        " pacific"
    ),
    starters=_words(
        "a an the this that these those it its it's he she we you they i i'm i've i'll i'd we're"
        " we've we'll you're you'll can't they're he's she's that's there there's here here's then"
        " also and but so or if when where what what's which who why how while since because"
        " although though as after before by for from in on at to with without my our your his her"
        " their is are was were do does did don't have has had can could would should will may"
        " might must let let's please thank thanks yes no not now today tomorrow yesterday however"
        " therefore both each every all some any many most nobody everyone everything nothing"
        " unfortunately luckily finally next once until just you'd it'll there'll"
    ),
    linkers=_words(
        "and but or so because which who where when while if although though since unless until"
        " whereas before after"
    ),
)
