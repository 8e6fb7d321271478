/** English and Chinese. A dictionary is flat: key -> text with {values}; "one|many" picks by the value `n`. */
import { remember, remembered, store } from "./base.js";

const KEY = "frp-language";
const TAGS = { en: "en", zh: "zh-CN" };
const texts = { en: {}, zh: {} };

/** The languages there are, each by its own name. */
export const LANGUAGES = { en: "English", zh: "简体中文" };

const preferred = () => {
  const kept = remembered(KEY);
  if (kept in LANGUAGES) return kept;
  const first = (globalThis.navigator?.languages ?? []).find((tag) => /^(en|zh)/i.test(tag)) ?? "en";
  return first.toLowerCase().startsWith("zh") ? "zh" : "en";
};

/** Which language is shown: "en" or "zh". */
export const language = store(preferred());

/** The BCP 47 tag of the language, for Intl. */
export const locale = () => TAGS[language.value];

/** Shows everything in another language and remembers it. */
export function setLanguage(next) {
  remember(KEY, next);
  language.set(next);
}

/** Adds an app's dictionary: {en: {...}, zh: {...}} with the same keys. */
export function addTexts(dictionary) {
  Object.assign(texts.en, dictionary.en);
  Object.assign(texts.zh, dictionary.zh);
}

/** The text of `key` in the language shown; a key without a text is shown itself. */
export function t(key, values) {
  let text = texts[language.value][key] ?? texts.en[key] ?? key;
  if (!values) return text;
  if (text.includes("|")) {
    const [one, many] = text.split("|");
    text = values.n === 1 ? one : many;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
