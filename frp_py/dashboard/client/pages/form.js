/** Making and changing proxies and visitors of the store. */
import { html, useEffect, useMemo, useRef, useState } from "../shared/base.js";
import { get, post, put, useQuery } from "../shared/api.js";
import { printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { navigate, useGuard, useTitle } from "../shared/router.js";
import { Button, Card, Empty, Failure, Icon, Loading, Name, Notice, Page, SelectField, Switch, TextField, confirm, toast } from "../shared/ui.js";
import { PLUGINS, applies, blockOf, definitionOf, faultsOf, newBlock, sectionsOf, typesOf, valueAt, withValue } from "../fields.js";
import { Control } from "../inputs.js";
import { useStatus } from "../live.js";
import { entryAddress, storePath } from "../parts.js";

const listAddress = (kind) => (kind === "proxy" ? "#/proxies?tab=store" : "#/visitors");

const mayLeave = () => confirm({ title: t("form.leaveTitle"), text: t("form.leaveText"), action: t("form.leave"), danger: true });

const fieldsOf = (kind) => sectionsOf(kind).flatMap(({ fields }) => fields);

/** The text of a fault of a path. */
function faultText(kind, path, fault) {
  const { min, max } = fieldsOf(kind).find((field) => field.path === path) ?? {};
  return fault && t(fault, { min, max });
}

function Base({ kind, block, set, existing, faults }) {
  return html`<${Card} title=${t("section.base")}><div class="form-grid">
    <${TextField} label=${t("field.name")} required value=${block.name} error=${faults.name} disabled=${existing} onChange=${set("name")} />
    <${SelectField} label=${t("field.type")} value=${block.type} options=${typesOf(kind).map((type) => [type, type])} onChange=${set("type")} />
    <${Switch} label=${t("field.enabled")} value=${block.enabled !== false} onChange=${set("enabled")} />
  </div><//>`;
}

/** A local service or one of the plugins. */
function BackendChoice({ block, set, fault }) {
  const plugged = Boolean(block.plugin);
  const choice = (value, label) => html`<label class="radio"><input type="radio" name="backend" checked=${plugged === value} onChange=${() => set("plugin")(value ? { type: "" } : undefined)} /><span>${label}</span></label>`;
  return html`<fieldset class="field radios full"><legend class="sr">${t("form.backend")}</legend>${choice(false, t("form.direct"))}${choice(true, t("form.plugin"))}</fieldset>
    ${plugged && html`<${SelectField} class="full" label=${t("form.pluginType")} required error=${fault} value=${block.plugin.type ?? ""}
      options=${[["", t("form.pluginChoose")], ...PLUGINS.map((type) => [type, type])]} onChange=${(type) => set("plugin")({ ...block.plugin, type })} />`}`;
}

/** A section of the form; one that is folded opens by itself when it holds something. */
function Section({ kind, section, block, set, faults }) {
  const fields = section.fields.filter((field) => applies(field, block));
  const wrong = fields.some((field) => faults[field.path]);
  const filled = fields.some((field) => ![undefined, "", null, false].includes(valueAt(block, field.path)));
  const [open, setOpen] = useState(!section.folded || filled);
  if (!fields.length && section.id !== "backend") return null;
  const body = html`<div class="form-grid">
    ${section.id === "backend" && html`<${BackendChoice} block=${block} set=${set} fault=${faults["plugin.type"]} />`}
    ${fields.map((field) => html`<div key=${field.path} class=${field.wide && "full"}>
      <${Control} field=${field} block=${block} fault=${faults[field.path]} onChange=${set(field.path)} />
    </div>`)}
  </div>`;
  if (!section.folded) return html`<${Card} title=${t(`section.${section.id}`)}>${body}<//>`;
  return html`<details class="card fold" open=${open || wrong} onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary><h2>${t(`section.${section.id}`)}</h2>${filled && html`<i class="dot on" />`}<${Icon} name="chevron" /></summary>
    <div class="card-body">${body}</div>
  </details>`;
}

/** Saves; an entry that is stored although it could not be applied counts as saved. */
async function save(kind, definition, existing) {
  try {
    if (existing) await put(storePath(kind, definition.name), { body: definition });
    else await post(storePath(kind), { body: definition });
  } catch (error) {
    if (error.status !== 500) throw error;
    const stored = await get(storePath(kind, definition.name)).catch(() => null);
    if (!stored) throw error;
    toast(`${t("form.notApplied")}: ${error.message}`, "bad");
    return;
  }
  toast(t(existing ? "store.updated" : "store.created", { name: printable(definition.name) }));
}

function Form({ kind, initial, existing, why }) {
  const [block, setBlock] = useState(initial);
  const [tried, setTried] = useState(false);
  const [touched, setTouched] = useState({});
  const [failure, setFailure] = useState(null);
  const [saved, setSaved] = useState(false);
  const form = useRef(null);
  const before = useMemo(() => JSON.stringify(definitionOf(kind, initial)), [initial]);
  const dirty = !saved && JSON.stringify(definitionOf(kind, block)) !== before;
  useGuard(dirty, mayLeave);
  useEffect(() => {
    if (saved) navigate(entryAddress(kind, block.name.trim(), "detail"));
  }, [saved]);
  const all = faultsOf(kind, block);
  if (block.plugin && kind === "proxy" && !block.plugin.type) all["plugin.type"] = "fault.pluginType";
  const shown = Object.fromEntries(Object.entries(all).filter(([path]) => tried || touched[path]).map(([path, fault]) => [path, faultText(kind, path, fault)]));
  const set = (path) => (value) => {
    setBlock((old) => withValue(old, path, value));
    setTouched((old) => ({ ...old, [path]: true }));
    setFailure(null);
  };
  const submit = async () => {
    setTried(true);
    setFailure(null);
    if (Object.keys(all).length) {
      requestAnimationFrame(() => requestAnimationFrame(() => form.current.querySelector("[aria-invalid=true], .wrong input, .wrong button")?.focus()));
      return;
    }
    try {
      await save(kind, definitionOf(kind, block), existing);
      setSaved(true);
    } catch (error) {
      setFailure(error.message);
    }
  };
  const names = Object.keys(shown).map((path) => t(`field.${path}`)).join(", ");
  return html`<form class="form" ref=${form} novalidate onSubmit=${(event) => event.preventDefault()}>
    <${Base} kind=${kind} block=${block} set=${set} existing=${existing} faults=${shown} />
    ${sectionsOf(kind).map((section) => html`<${Section} key=${section.id} kind=${kind} section=${section} block=${block} set=${set} faults=${shown} />`)}
    ${failure && html`<${Notice} tone="bad" title=${t("form.notSaved")}><span class="error-text">${failure}</span><//>`}
    <footer class="form-foot">
      <${Button} type="submit" kind="primary" why=${why} onClick=${submit}>${t(existing ? "form.save" : "form.create")}<//>
      <${Button} href=${existing ? entryAddress(kind, initial.name, "detail") : listAddress(kind)}>${t("form.cancel")}<//>
      ${tried && names && html`<p class="fault-line" role="status">${t("form.faults", { fields: names })}</p>`}
    </footer>
  </form>`;
}

/** Goes back to the list when the store is off, and says why. */
function useStoreOn(kind) {
  const { status, error, reload } = useStatus();
  const off = status && !status.storePath;
  useEffect(() => {
    if (!off) return;
    toast(t("store.offRedirect"), "info");
    navigate(listAddress(kind), { replace: true });
  }, [off]);
  return { ready: status && !off, error, reload };
}

function Create({ kind }) {
  const title = t(kind === "proxy" ? "form.newProxy" : "form.newVisitor");
  useTitle(title);
  const why = useReadOnly();
  const { ready, error, reload } = useStoreOn(kind);
  const initial = useMemo(() => newBlock(kind), [kind]);
  return html`<${Frame} kind=${kind} title=${title}>
    ${ready ? html`<${Form} kind=${kind} initial=${initial} why=${why} />` : html`<${Card}>${error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} />`}<//>`}
  <//>`;
}

function Edit({ kind, name }) {
  useTitle(t("form.editProxy", { name: printable(name) }));
  const why = useReadOnly();
  const { ready } = useStoreOn(kind);
  const { data, error, reload } = useQuery(ready ? storePath(kind, name) : null);
  // What is typed must not be lost when the same is loaded again.
  const [first, setFirst] = useState(null);
  useEffect(() => {
    if (data && !first) setFirst(blockOf(data));
  }, [data]);
  const missing = error?.status === 404;
  return html`<${Frame} kind=${kind} title=${html`${t("form.editProxy", { name: "" })}<${Name} text=${name} />`} name=${name}>
    ${first ? html`<${Form} kind=${kind} initial=${first} existing why=${why} />`
      : html`<${Card}>${missing ? html`<${Empty} icon="search" title=${t(kind === "proxy" ? "detail.proxyMissing" : "detail.visitorMissing")}>${t("detail.missingText", { name: printable(name) })}<//>`
        : error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} />`}<//>`}
  <//>`;
}

const Frame = ({ kind, title, name, children }) => html`<${Page} title=${title} crumbs=${[
  { label: t(kind === "proxy" ? "nav.proxies" : "nav.visitors"), href: listAddress(kind) },
  ...(name === undefined ? [] : [{ label: name, href: entryAddress(kind, name, "detail") }]),
]}>${children}<//>`;

/** #/proxies/create */
export const CreateProxy = () => html`<${Create} kind="proxy" />`;

/** #/proxies/{name}/edit */
export const EditProxy = ({ name }) => html`<${Edit} kind="proxy" name=${name} />`;

/** #/visitors/create */
export const CreateVisitor = () => html`<${Create} kind="visitor" />`;

/** #/visitors/{name}/edit */
export const EditVisitor = ({ name }) => html`<${Edit} kind="visitor" name=${name} />`;
