// Prints the mix of k6's sessions and what comes of it, for a comparison with sessions_mix.py.

import { COMMON, MIX, ask, formatOf, freshText, languageOf, tokensOf } from "../../k6/mix.js";
import { budgets, tail, trendStats } from "../../k6/lib.js";

const SESSIONS = 1000;
const ASKS = 20_000;

export default function () {
  const sessions = {};
  for (let number = 0; number < SESSIONS; number++) {
    const kind = `${languageOf(number)} ${formatOf(number)}`;
    sessions[kind] = (sessions[kind] || 0) + 1;
  }
  const asked = Array.from({ length: ASKS }, (_, count) => ask("en", count));
  const late = asked.map((turn) => turn.interruptMs).filter((wait) => wait !== null);
  const found = {
    mix: MIX,
    common: COMMON,
    fresh: { en: freshText("en", 100_042), es: freshText("es", 42), zh: freshText("zh", 42) },
    tokens: { es: tokensOf("¿Sí? Claro, por favor.", "es"), zh: tokensOf("您好，请问", "zh") },
    sessions,
    asked: {
      fresh: asked.filter((turn) => turn.fresh).length / ASKS,
      written: asked.filter((turn) => turn.written).length / ASKS,
      interrupted: late.length / ASKS,
      differing: new Set(asked.filter((turn) => turn.fresh).map((turn) => turn.text)).size,
      interruptMs: [Math.min(...late), Math.max(...late)],
    },
    tails: [60, 1999, 2000].map((samples) => [tail(samples), trendStats(samples)]),
    budgets: budgets.sessions,
  };
  console.log(JSON.stringify(found));
}
