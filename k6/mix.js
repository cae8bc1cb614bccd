// What the sessions ask: the mix of benchmarks/sessions_mix.py (a test compares the two).

export const MIX = {
  languages: { en: 0.7, es: 0.2, zh: 0.1 },
  formats: ["ulaw", "mp3"],
  fresh: 0.3,
  written: 0.3,
  interrupted: 0.05,
  tokensPerS: 25,
  turnEveryS: 5,
};

export const COMMON = {
  en: [
    "Welcome! How can I help you today?",
    "One moment please, I am looking that up for you.",
    "Would you like to visit the house on Saturday morning?",
    "May I have your name and your telephone number?",
    "Thank you for calling. Have a nice day!",
    "The apartment has two bedrooms and a large balcony.",
    "Yes, it is still available.",
    "I am sorry, could you say that again?",
    "Heating and water are included in the rent.",
    "Our office is open from nine to five.",
    "Shall I send you the address?",
    "The owner can show you the house tomorrow.",
  ],
  es: [
    "¡Bienvenido! ¿En qué puedo ayudarle hoy?",
    "Un momento, por favor, lo estoy buscando.",
    "¿Le gustaría visitar la casa el sábado?",
    "La vivienda tiene dos dormitorios y un balcón.",
    "Gracias por llamar. ¡Que tenga un buen día!",
    "Sí, todavía está disponible.",
  ],
  zh: [
    "您好，请问有什么可以帮您？",
    "请稍等，我马上为您查询。",
    "这套房子有两个卧室和一个阳台。",
    "感谢您的来电，祝您愉快。",
  ],
};

const FRESH = {
  en: (figures) => `The house at ${figures.join(" ")} is free now.`,
  es: (figures) => `La casa ${figures.join(" ")} está libre ahora.`,
  zh: (figures) => `房子${figures.join("")}号离车站很近。`,
};
const DIGITS = {
  en: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
  es: ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"],
  zh: [..."零一二三四五六七八九"],
};
const FIGURES = 5;

// Of every ten sessions seven, two and one; within each language the formats in turn.
export function languageOf(number) {
  let end = 0;
  const place = (number % 10) + 0.5;
  return Object.keys(MIX.languages).find((name) => place < (end += 10 * MIX.languages[name]));
}
export function formatOf(number) {
  return MIX.formats[(number + Math.floor(number / 10)) % MIX.formats.length];
}

// One text that differs for each `count` up to 100,000.
export function freshText(language, count) {
  const figures = String(count % 10 ** FIGURES).padStart(FIGURES, "0");
  return FRESH[language]([...figures].map((figure) => DIGITS[language][Number(figure)]));
}

// A turn as the dice fall; `count` tells new texts apart. `interruptMs` counts from its beginning.
export function ask(language, count) {
  const common = COMMON[language];
  const fresh = Math.random() < MIX.fresh;
  return {
    text: fresh
      ? freshText(language, count)
      : common[Math.floor(Math.random() * common.length)],
    fresh,
    written: Math.random() < MIX.written,
    interruptMs: Math.random() < MIX.interrupted ? 100 + 1400 * Math.random() : null,
  };
}

// As a language model might write them: words with the blank before them, in Mandarin characters.
export function tokensOf(text, language) {
  return language === "zh" ? [...text] : text.split(/(?= )/);
}
