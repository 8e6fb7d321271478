/** The frame around the pages: head, side navigation, banners about the connection and the server's safety. */
import { addTexts, LANGUAGES, language, setLanguage, t } from "./i18n.js";
import { connection, loadSession, probe, session } from "./api.js";
import { classes, html, render, useEffect, useState, useStore } from "./base.js";
import { find, place, Router } from "./router.js";
import { Button, Empty, Icon, Menu, Notice, Overlays, Page } from "./ui.js";
import texts from "./texts.js";

const PROJECT = "https://github.com/fatedier/frp";
const SESSION_EVERY = 60_000;

/** Why nothing can be changed from here now, or undefined when it can: for `why` of buttons. */
export function useReadOnly() {
  const { state } = useStore(connection);
  const readOnly = useStore(session)?.readOnly;
  if (state !== "online") return t(state === "lost" ? "layout.lost" : "layout.denied");
  return readOnly ? t("layout.readOnly") : undefined;
}

function ThemeMenu() {
  const [choice, setChoice] = useState(window.frpTheme.choice);
  const choose = (next) => {
    window.frpTheme.choose(next);
    setChoice(next);
  };
  const items = [["auto", "auto"], ["light", "sun"], ["dark", "moon"]].map(([id, icon]) => ({
    label: t(`layout.theme.${id}`), icon, checked: choice === id, onClick: () => choose(id),
  }));
  return html`<${Menu} label=${t("layout.theme")} icon=${{ auto: "auto", light: "sun", dark: "moon" }[choice]} items=${items} />`;
}

function LanguageMenu() {
  const items = Object.entries(LANGUAGES).map(([id, label]) => ({ label, checked: language.value === id, onClick: () => setLanguage(id) }));
  return html`<${Menu} label=${t("layout.language")} icon="language" items=${items} />`;
}

// Tells that the server is gone, counts down to the next attempt, and says for a moment that it is back.
function ConnectionBanner() {
  const { state, since, retryAt } = useStore(connection);
  const [before, setBefore] = useState(state);
  const [back, setBack] = useState(false);
  const [, tick] = useState(0);
  useEffect(() => {
    setBefore(state);
    if (state !== "online") {
      setBack(false);
      const timer = setInterval(() => tick((n) => n + 1), 500);
      return () => clearInterval(timer);
    }
    if (before !== "lost") return undefined;
    setBack(true);
    const timer = setTimeout(setBack, 4000, false);
    return () => clearTimeout(timer);
  }, [state, since]);
  if (state === "denied") {
    return html`<div class="banner"><${Notice} tone="bad" title=${t("layout.denied")} actions=${html`<${Button} small onClick=${() => location.reload()}>${t("layout.signIn")}<//>`} /></div>`;
  }
  if (state === "lost") {
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    return html`<div class="banner"><div class="notice bad">
      <${Icon} name="offline" size=${18} />
      <div class="notice-text"><strong role="alert">${t("layout.lost")}</strong><div>${seconds ? t("layout.retryIn", { seconds }) : t("layout.retrying")}</div></div>
      <div class="actions"><${Button} small icon="refresh" onClick=${probe}>${t("layout.retryNow")}<//></div>
    </div></div>`;
  }
  return back && html`<div class="banner"><${Notice} tone="ok" title=${t("layout.back")} /></div>`;
}

// A server without a password, and a server that is another version than the one this page came from.
function SafetyBanner() {
  const now = useStore(session);
  const [first, setFirst] = useState(null);
  useEffect(() => {
    if (now && !first) setFirst(now.version);
  }, [now]);
  return html`${now?.open && html`<div class="banner"><${Notice} tone="warn" title=${t("layout.open")}>${t(now.readOnly ? "layout.openReadOnly" : "layout.openLocal")}<//></div>`}
    ${now && first && now.version !== first && html`<div class="banner"><${Notice} title=${t("layout.newVersion", { version: now.version })}
      actions=${html`<${Button} small onClick=${() => location.reload()}>${t("layout.reloadPage")}<//>`} /></div>`}`;
}

function Navigation({ items, current, onChoose, children }) {
  return html`<nav class="side-box" aria-label=${t("layout.navigation")}><ul>
    ${items.map((item) => html`<li key=${item.id}><a href=${item.href} aria-current=${item.id === current ? "page" : undefined} onClick=${onChoose}><${Icon} name=${item.icon} size=${18} /><span>${item.label}</span></a></li>`)}
  </ul>${children}</nav>`;
}

function Missing() {
  return html`<${Page} title=${t("layout.noPage")}><div class="card"><${Empty} icon="search" title=${t("layout.noPageText")} action=${html`<a class="button plain" href="#/">${t("layout.home")}</a>`} /></div><//>`;
}

function App({ badge, navigation, routes }) {
  useStore(language);
  const { path } = useStore(place);
  const state = useStore(connection);
  const about = useStore(session);
  const [drawer, setDrawer] = useState(false);
  useEffect(() => {
    loadSession().catch(() => {});
    const timer = setInterval(() => document.hidden || connection.value.state !== "online" || loadSession().catch(() => {}), SESSION_EVERY);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en";
  }, [language.value]);
  useEffect(() => {
    const key = (event) => event.key === "Escape" && setDrawer(false);
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const current = find(routes, path)?.route.nav;
  const lost = state.state !== "online";
  const skip = (event) => {
    event.preventDefault();
    document.querySelector("main").focus();
  };
  return html`<div class=${classes("app", drawer && "drawer-open")}>
    <a class="skip" href="#main" onClick=${skip}>${t("layout.skip")}</a>
    <header class="top">
      <button type="button" class="button ghost square drawer-button" aria-label=${t("layout.navigation")} aria-expanded=${drawer} onClick=${() => setDrawer(!drawer)}><${Icon} name=${drawer ? "close" : "menu"} size=${20} /></button>
      <a class="brand" href="#/"><svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true"><rect width="24" height="24" rx="6.5" /><path d="M6 8.5h5.2c3.4 0 2.2 7 5.6 7H18 M6 15.5h4 M14 8.5h4" /></svg><b>frp</b></a>
      <span class="product">${badge}</span>
      <span class=${classes("link-state", lost && "lost")} role="img" aria-label=${t(lost ? "layout.stateLost" : "layout.stateOnline")} data-tip=${t(lost ? "layout.stateLost" : "layout.stateOnline")}><i class="dot" /></span>
      <span class="gap" />
      <${LanguageMenu} /><${ThemeMenu} />
      <${Button} kind="ghost" icon="external" label=${t("layout.project")} href=${PROJECT} target="_blank" rel="noreferrer noopener" />
    </header>
    <div class="side" onClick=${(event) => event.target === event.currentTarget && setDrawer(false)}>
      <${Navigation} items=${navigation()} current=${current} onChoose=${() => setDrawer(false)}>
        <p class="side-foot">${about && html`${about.program} ${about.version}`}</p>
      <//>
    </div>
    <main id="main" tabindex="-1" inert=${drawer}>
      <${ConnectionBanner} /><${SafetyBanner} />
      <${Router} routes=${routes} missing=${Missing} />
    </main>
    <${Overlays} />
  </div>`;
}

/**
 * Starts a dashboard in #app.
 * @param {{badge: () => string, navigation: () => {id, href, icon, label}[], routes: {path, page, nav}[], texts: {en: object, zh: object}}} app
 */
export function start({ badge, navigation, routes, texts: own }) {
  addTexts(texts);
  addTexts(own);
  const Root = () => {
    useStore(language);
    return html`<${App} badge=${badge()} navigation=${navigation} routes=${routes} />`;
  };
  render(html`<${Root} />`, document.getElementById("app"));
}
