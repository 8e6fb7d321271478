/** The way to the server: its state on every page, and what is done to the program as a whole. */
import { classes, html } from "./shared/base.js";
import { post } from "./shared/api.js";
import { duration, printable, useNow } from "./shared/format.js";
import { t } from "./shared/i18n.js";
import { useReadOnly } from "./shared/layout.js";
import { Badge, Button, Dialog, Facts, Menu, Name, Notice, confirm, open, toast } from "./shared/ui.js";

const TONES = { connected: "ok", connecting: "info", waiting: "bad" };

/** Whether frpc is connected, to whom and since when, in a line. */
export function LinkState({ status }) {
  const now = useNow(1);
  if (!status) return html`<span class="skeleton short" />`;
  return html`<span class="row">
    <${Badge} tone=${TONES[status.phase] ?? "quiet"} dot>${t(`link.${status.phase}`)}<//>
    <${Name} text=${status.serverAddr} class="mono" />
    ${status.phase === "connected" && html`<span class="faint">${duration(now - status.since)}</span>`}
  </span>`;
}

/** Says that frpc is not connected, why, and when it tries again; nothing while it is. */
export function LinkNotice({ status }) {
  const now = useNow(0.5);
  if (!status || status.phase === "connected") return null;
  const waiting = status.phase === "waiting";
  const seconds = Math.max(0, Math.ceil(status.nextTry - now));
  const title = waiting ? t("link.lost", { server: printable(status.serverAddr) }) : t("link.connectingTo", { server: printable(status.serverAddr) });
  // The countdown is not read out: only the state and the reason are.
  return html`<div class=${classes("notice", waiting ? "bad" : "info")}>
    <span class="spinner" aria-hidden="true" />
    <div class="notice-text">
      <strong role="status">${title}</strong>
      <div class="row">${status.lastError && html`<${Name} text=${status.lastError} class="wrap" />`}${waiting && status.nextTry > 0 && html`<span class="nums">${t("link.nextTry", { seconds })}</span>`}</div>
      ${status.advice && html`<div>${status.advice}</div>`}
    </div>
  </div>`;
}

const GROUPS = [["added", "ok"], ["changed", "info"], ["removed", "bad"]];

const Names = ({ names }) => html`<ul class="chips">${names.map((name) => html`<li key=${name} class="chip"><${Name} text=${name} /></li>`)}</ul>`;

/** What a reload did; see POST api/x/reload. */
export function ReloadResult({ result, close }) {
  const groups = ["proxies", "visitors"].flatMap((kind) => GROUPS.map(([id, tone]) => ({ kind, id, tone, names: result[kind]?.[id] ?? [] })));
  const found = groups.filter(({ names }) => names.length);
  const nothing = !found.length && !result.applied?.length && !result.restart?.length;
  return html`<${Dialog} title=${t("reload.title")} onClose=${close} footer=${html`<${Button} kind="primary" autofocus onClick=${() => close()}>${t("ui.close")}<//>`}>
    ${nothing && html`<p>${t("reload.nothing")}</p>`}
    <${Facts} rows=${found.map(({ kind, id, tone, names }) => [
      html`${t(`${kind}.title`)} <${Badge} tone=${tone}>${t(`reload.${id}`)}<//>`, html`<${Names} names=${names} />`,
    ])} />
    ${result.applied?.length > 0 && html`<${Facts} rows=${[[t("reload.applied"), html`<${Names} names=${result.applied} />`]]} />`}
    ${result.restart?.length > 0 && html`<${Notice} tone="warn" title=${t("reload.restart")}><${Names} names=${result.restart} /><//>`}
  <//>`;
}

const ReloadFailure = ({ error, close }) => html`<${Dialog} title=${t("reload.failed")} tone="bad" onClose=${close}
  footer=${html`<${Button} href="#/config" onClick=${() => close()}>${t("nav.config")}<//><${Button} kind="primary" autofocus onClick=${() => close()}>${t("ui.close")}<//>`}>
  <pre class="error-text">${error.message}</pre>
  <p>${t("reload.kept")}</p>
<//>`;

/** Reloads, and shows what changed or why nothing did. Resolves with whether it was done. */
export async function reload(strict) {
  try {
    const result = await post("api/x/reload", { query: { strictConfig: strict ? "true" : undefined } });
    open((close) => html`<${ReloadResult} result=${result} close=${close} />`);
    return true;
  } catch (error) {
    if (error.lost) throw error;
    open((close) => html`<${ReloadFailure} error=${error} close=${close} />`);
    return false;
  }
}

async function stop() {
  const agreed = await confirm({ title: t("stop.title"), text: t("stop.text"), action: t("stop.button"), danger: true, run: () => post("api/stop") });
  if (agreed) toast(t("stop.done"), "info");
}

/** Reload, and stop behind a menu. */
export function ProgramActions() {
  const why = useReadOnly();
  return html`<${Button} icon="refresh" why=${why} onClick=${() => reload(false)}>${t("reload.button")}<//>
    <${Menu} label=${t("stop.menu")} items=${[{ label: `${t("stop.button")} …`, icon: "power", tone: "bad", why, onClick: stop }]} />`;
}
