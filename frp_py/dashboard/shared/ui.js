/** The components both dashboards are made of. README.md tells how they are used. */
import { Fragment, classes, html, store, useEffect, useId, useLayoutEffect, useRef, useState, useStore } from "./base.js";
import { ago, dateTime, number, printable, useNow } from "./format.js";
import { t } from "./i18n.js";
import { Icon } from "./icons.js";

export { Icon };

// ---- Text ----

/** A name that a client chose: isolated from the direction of the text around it, cut where it doesn't fit, whole in its tip. */
export const Name = ({ text, class: extra }) => {
  const shown = printable(text);
  return html`<bdi class=${classes("name", extra)} title=${shown.length > 24 ? shown : undefined}>${shown}</bdi>`;
};

/** How long ago a moment (Unix seconds) was; keeps itself up to date. */
export function Ago({ at, empty = "–" }) {
  const seconds = useNow(10);
  if (!at) return html`<span class="faint">${empty}</span>`;
  return html`<time dateTime=${new Date(at * 1000).toISOString()} data-tip=${dateTime(at)}>${ago(at, seconds)}</time>`;
}

/** Copies a text. */
export function Copy({ text, label = t("ui.copy") }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(setDone, 1500, false);
  };
  // Browsers have a clipboard only for pages that came encrypted or from this machine.
  if (!navigator.clipboard) return null;
  return html`<${Button} kind="ghost" small icon=${done ? "check" : "copy"} label=${done ? t("ui.copied") : label} onClick=${copy} />`;
}

// ---- Buttons ----

/**
 * A button, or a link that looks like one (`href`). A handler that returns a promise makes it busy meanwhile; what it throws is shown as a toast.
 * `kind`: "primary" | "plain" | "ghost" | "danger". Without children, `label` names it. `why` disables it and tells the reason.
 */
export function Button({ kind = "plain", small, icon, label, children, onClick, href, why, disabled, busy: busyOutside, class: extra, ...rest }) {
  const [busyInside, setBusy] = useState(false);
  const alive = useRef(true);
  useEffect(() => () => (alive.current = false), []);
  const busy = busyInside || busyOutside;
  const off = Boolean(disabled || why);
  const click = async (event) => {
    if (off || busy) return event.preventDefault();
    const result = onClick?.(event);
    if (typeof result?.then !== "function") return undefined;
    setBusy(true);
    try {
      await result;
    } catch (error) {
      toast(error.message, "bad");
    } finally {
      if (alive.current) setBusy(false);
    }
    return undefined;
  };
  const common = {
    class: classes("button", kind, small && "small", !children && "square", extra),
    "aria-label": children ? undefined : label,
    "data-tip": why ?? (children ? undefined : label),
    ...rest,
  };
  const inside = html`${busy ? html`<span class="spinner" />` : icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}`;
  if (href) return html`<a href=${href} ...${common}>${inside}</a>`;
  return html`<button type="button" ...${common} aria-disabled=${off || undefined} aria-busy=${busy || undefined} onClick=${click}>${inside}</button>`;
}

/** A coloured word. `tone`: "ok" | "warn" | "bad" | "info" | "quiet"; with `dot` the state isn't told by colour alone. */
export const Badge = ({ tone = "quiet", dot, children }) =>
  html`<span class=${`badge ${tone}`}>${dot && html`<i class="dot" />`}<span>${children}</span></span>`;

/**
 * A button with a list of choices. Items: {label, icon?, onClick, href?, tone?: "bad", checked?, why?}; null items are left out.
 * `trigger` are more properties of the button.
 */
export function Menu({ label, icon = "more", items, children, trigger = {} }) {
  const [place, setPlace] = useState(null);
  const list = useRef(null);
  const holder = useRef(null);
  const id = useId();
  const close = (focus) => {
    setPlace(null);
    if (focus) holder.current?.querySelector("button")?.focus();
  };
  const toggle = () => {
    if (place) return close(false);
    const box = holder.current.getBoundingClientRect();
    const below = innerHeight - box.bottom > 260 || box.top < 260;
    return setPlace({
      right: `${Math.max(8, document.documentElement.clientWidth - box.right)}px`,
      ...(below ? { top: `${box.bottom + 4}px` } : { bottom: `${innerHeight - box.top + 4}px` }),
    });
  };
  useEffect(() => {
    if (!place) return undefined;
    // Above everything, also above what is positioned in the rows of a table.
    list.current.showPopover?.();
    (list.current.querySelector('[aria-checked="true"]') ?? list.current.querySelector("[role^=menuitem]"))?.focus();
    const outside = (event) => holder.current?.contains(event.target) || close(false);
    const scrolled = () => close(false);
    document.addEventListener("pointerdown", outside);
    addEventListener("scroll", scrolled, true);
    return () => {
      document.removeEventListener("pointerdown", outside);
      removeEventListener("scroll", scrolled, true);
    };
  }, [place]);
  const key = (event) => {
    const entries = [...list.current.querySelectorAll("[role^=menuitem]")];
    const at = entries.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (next !== undefined) entries.at(next % entries.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close(true);
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  };
  const entry = (item) => {
    const chosen = (event) => {
      if (item.why) return event.preventDefault();
      close(true);
      return item.onClick?.();
    };
    const inside = html`${item.icon && html`<${Icon} name=${item.icon} />`}<span>${item.label}</span>${item.checked && html`<${Icon} name="check" class="end" />`}`;
    const role = item.checked === undefined ? "menuitem" : "menuitemradio";
    const common = { role, tabindex: -1, class: classes("menu-item", item.tone), "aria-checked": item.checked, "data-tip": item.why, onClick: chosen };
    if (item.href) return html`<a ...${common} href=${item.href}>${inside}</a>`;
    return html`<button type="button" ...${common} aria-disabled=${item.why ? true : undefined}>${inside}</button>`;
  };
  return html`<span class="menu" ref=${holder}>
    <${Button} kind="ghost" icon=${icon} label=${label} aria-haspopup="menu" aria-expanded=${Boolean(place)} aria-controls=${place ? id : undefined} onClick=${toggle} ...${trigger}>${children}<//>
    ${place && html`<div class="menu-list" role="menu" popover="manual" id=${id} aria-label=${label} ref=${list} style=${place} onKeyDown=${key}>${items.filter(Boolean).map(entry)}</div>`}
  </span>`;
}

// ---- Structure ----

/** A page's head and body. `crumbs`: [{label, href}] above the title. `text` is the title as plain text if `title` is an element. */
export const Page = ({ title, subtitle, crumbs, actions, children }) => html`<div class="page">
  ${crumbs && html`<nav class="crumbs" aria-label=${t("ui.breadcrumb")}><ol>
    ${crumbs.map((crumb) => html`<li><a href=${crumb.href}><${Name} text=${crumb.label} /></a><${Icon} name="chevron" size=${12} /></li>`)}
  </ol></nav>`}
  <header class="page-head">
    <div class="page-title"><h1 tabindex="-1">${title}</h1>${subtitle && html`<div class="subtitle">${subtitle}</div>`}</div>
    ${actions && html`<div class="actions">${actions}</div>`}
  </header>
  ${children}
</div>`;

/** A box with a heading. `flush` leaves out the inner space, for tables. */
export function Card({ title, note, actions, flush, children, class: extra }) {
  const id = useId();
  return html`<section class=${classes("card", flush && "flush", extra)} aria-labelledby=${title ? id : undefined}>
    ${(title || actions) && html`<header class="card-head"><h2 id=${id}>${title}${note && html`<small>${note}</small>`}</h2>${actions && html`<div class="actions">${actions}</div>`}</header>`}
    <div class="card-body">${children}</div>
  </section>`;
}

/** A figure; with `href` the whole card is a link. */
export const Stat = ({ label, value, unit, note, icon, href }) => {
  const inside = html`<span class="stat-label">${icon && html`<${Icon} name=${icon} />`}${label}</span>
    <span class="stat-value">${value ?? html`<span class="skeleton short" />`}${unit && html`<small>${unit}</small>`}</span>
    ${note && html`<span class="stat-note">${note}</span>`}`;
  return href ? html`<a class="card stat" href=${href}>${inside}</a>` : html`<div class="card stat">${inside}</div>`;
};

/** A list of names and values: rows [[label, value]]; falsy rows are left out. */
export const Facts = ({ rows }) => html`<dl class="facts">
  ${rows.filter(Boolean).map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value === "" || value === null || value === undefined ? "–" : value}</dd></div>`)}
</dl>`;

/** A sentence that must be seen. `tone`: "info" | "warn" | "bad" | "ok". */
export const Notice = ({ tone = "info", title, children, actions }) => html`<div class=${`notice ${tone}`} role=${tone === "bad" ? "alert" : "status"}>
  <${Icon} name=${{ ok: "check", info: "info" }[tone] ?? "alert"} size=${18} />
  <div class="notice-text">${title && html`<strong>${title}</strong>`}${children && html`<div>${children}</div>`}</div>
  ${actions && html`<div class="actions">${actions}</div>`}
</div>`;

/** What is shown where there is nothing. */
export const Empty = ({ icon = "empty", title, children, action }) => html`<div class="empty">
  <${Icon} name=${icon} size=${28} /><p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}${action}
</div>`;

/** What is shown when something couldn't be loaded. */
export const Failure = ({ error, retry }) => html`<div class="empty" role="alert">
  <${Icon} name="alert" size=${28} /><p class="empty-title">${t("ui.failed")}</p><p>${error.message}</p>
  ${retry && html`<${Button} icon="refresh" onClick=${retry}>${t("ui.retry")}<//>`}
</div>`;

/** Grey lines in place of what is being loaded. */
export const Loading = ({ lines = 4 }) => html`<div class="loading" role="status" aria-label=${t("ui.loading")}>
  ${Array.from({ length: lines }, () => html`<span class="skeleton" />`)}
</div>`;

// ---- Lists ----

/**
 * A table; on narrow screens each row becomes a card.
 * Columns: {id, label, cell: (row) => content, sort?: true, end?: true (numbers), main?: true (the row's name), corner?: true (at its side on cards), hide?: true (not on cards), width?}.
 * `sort`: {by, order: "asc" | "desc"}; `onSort` gets the next one. `rowHref(row)` makes the whole row a link through its main cell.
 */
export function Table({ label, columns, rows, rowKey, rowHref, sort, onSort, dim }) {
  const head = (column) => {
    const active = sort?.by === column.id;
    // Of figures the largest are wanted first.
    const first = column.end ? "desc" : "asc";
    const next = { by: column.id, order: active ? (sort.order === "asc" ? "desc" : "asc") : first };
    const style = column.width ? { width: column.width } : undefined;
    if (!column.sort) return html`<th scope="col" key=${column.id} class=${column.end && "end"} style=${style} role="columnheader">${column.label}</th>`;
    const order = active ? (sort.order === "asc" ? "ascending" : "descending") : undefined;
    return html`<th scope="col" key=${column.id} class=${column.end && "end"} style=${style} role="columnheader" aria-sort=${order}>
      <button type="button" class=${classes("sort", active && sort.order)} onClick=${() => onSort(next)}>${column.label}<${Icon} name=${active ? "up" : "sort"} size=${12} /></button>
    </th>`;
  };
  const cell = (column, row) => {
    const content = column.cell(row);
    const href = column.main && rowHref?.(row);
    return html`<td key=${column.id} role="cell" data-label=${column.label} class=${classes(column.end && "end", column.main && "main", column.corner && "corner", column.hide && "hide")}>
      ${href ? html`<a class="row-link" href=${href}>${content}</a>` : content}
    </td>`;
  };
  return html`<div class=${classes("table-wrap", dim && "dim")} aria-busy=${dim || undefined}>
    <table role="table" aria-label=${label} class=${rowHref && "linked"}>
      <thead role="rowgroup"><tr role="row">${columns.map(head)}</tr></thead>
      <tbody role="rowgroup">${rows.map((row) => html`<tr role="row" key=${rowKey(row)}>${columns.map((column) => cell(column, row))}</tr>`)}</tbody>
    </table>
  </div>`;
}

/** Choice of the order where a table's head isn't seen (narrow screens). */
export const SortSelect = ({ columns, sort, onSort }) => html`<span class="sort-select">
  <select aria-label=${t("ui.sortBy")} value=${sort.by} onChange=${(event) => onSort({ ...sort, by: event.target.value })}>
    ${columns.filter((column) => column.sort).map((column) => html`<option value=${column.id}>${column.label}</option>`)}
  </select>
  <${Button} icon=${sort.order === "asc" ? "up" : "down"} label=${t(sort.order === "asc" ? "ui.ascending" : "ui.descending")}
    onClick=${() => onSort({ ...sort, order: sort.order === "asc" ? "desc" : "asc" })} />
</span>`;

/** Which part of a list is shown, and the way to the others. `onChange` gets {page, pageSize}. */
export function Pager({ page, pageSize, total, sizes = [10, 20, 50, 100], onChange }) {
  const last = Math.max(1, Math.ceil(total / pageSize));
  const first = total ? (page - 1) * pageSize + 1 : 0;
  const turn = (next) => () => onChange({ page: next, pageSize });
  return html`<nav class="pager" aria-label=${t("ui.pages")}>
    <span class="pager-total" role="status">${t("ui.range", { first: number(first), last: number(Math.min(total, page * pageSize)), total: number(total) })}</span>
    <label class="pager-size"><span>${t("ui.perPage")}</span>
      <select value=${String(pageSize)} onChange=${(event) => onChange({ page: 1, pageSize: Number(event.target.value) })}>
        ${sizes.map((size) => html`<option value=${String(size)}>${size}</option>`)}
      </select>
    </label>
    <span class="pager-turn">
      <${Button} small icon="chevron" class="flip" label=${t("ui.previous")} disabled=${page <= 1} onClick=${turn(page - 1)} />
      <span class="pager-page">${number(page)} / ${number(last)}</span>
      <${Button} small icon="chevron" label=${t("ui.next")} disabled=${page >= last} onClick=${turn(page + 1)} />
    </span>
  </nav>`;
}

/** A search field; `onSearch` gets the text when the typing has rested for 300 ms, or at once for Enter. "/" goes to it. */
export function SearchBox({ value, onSearch, label }) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const timer = useRef();
  const field = useRef(null);
  const send = (next) => {
    clearTimeout(timer.current);
    if (sent.current === next) return;
    sent.current = next;
    onSearch(next);
  };
  const typed = (next) => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(send, 300, next);
  };
  useEffect(() => {
    if (value === sent.current) return;
    sent.current = value;
    setText(value);
  }, [value]);
  useEffect(() => {
    const key = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
      event.preventDefault();
      field.current.focus();
    };
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("keydown", key);
      clearTimeout(timer.current);
    };
  }, []);
  const key = (event) => {
    if (event.key === "Enter") send(text);
    if (event.key === "Escape" && text) {
      event.preventDefault();
      setText("");
      send("");
    }
  };
  return html`<label class="search"><${Icon} name="search" /><span class="sr">${label}</span>
    <input ref=${field} type="search" value=${text} placeholder=${label} autocomplete="off" spellcheck=${false} onInput=${(event) => typed(event.target.value)} onKeyDown=${key} />
    <kbd aria-hidden="true">/</kbd>
  </label>`;
}

/** A choice of one among few, moved through with the arrow keys. Items: {id, label, count?}. `pills` draws it as one piece. */
export function Tabs({ items, value, onChange, label, pills }) {
  const holder = useRef(null);
  const chosen = (at) => {
    const item = items.at(at % items.length);
    onChange(item.id);
    holder.current.querySelectorAll("button")[items.indexOf(item)].focus();
  };
  const key = (event) => {
    const at = items.findIndex((item) => item.id === value);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    chosen(next);
  };
  useLayoutEffect(() => {
    // On narrow screens the row scrolls; the chosen one is to be seen.
    const tab = holder.current.querySelector('[aria-checked="true"]');
    if (tab) holder.current.scrollLeft = tab.offsetLeft - (holder.current.clientWidth - tab.clientWidth) / 2;
  }, [value]);
  return html`<div class=${pills ? "tabs pills" : "tabs"} role="radiogroup" aria-label=${label} ref=${holder} onKeyDown=${key}>
    ${items.map((item) => html`<button type="button" role="radio" key=${item.id} aria-checked=${item.id === value} tabindex=${item.id === value ? 0 : -1} onClick=${() => onChange(item.id)}>
      ${item.label}${item.count !== undefined && html`<span class="count">${number(item.count)}</span>`}
    </button>`)}
  </div>`;
}

// ---- Forms ----

/**
 * A field with its label, hint and error. `children` is a function that gets the properties the control needs:
 * html`<${Field} label="Name" error=${e}>${(props) => html`<input ...${props} value=… />`}<//>`
 */
export function Field({ label, hint, error, required, children, class: extra }) {
  const id = useId();
  const props = { id, required, "aria-invalid": error ? true : undefined, "aria-describedby": error || hint ? `${id}-note` : undefined };
  return html`<div class=${classes("field", error && "wrong", extra)}>
    <label for=${id}>${label}${required && html`<span class="required" aria-hidden="true"> *</span>`}</label>
    ${children(props)}
    ${(error || hint) && html`<p class="field-note" id=${`${id}-note`} role=${error ? "alert" : undefined}>${error || hint}</p>`}
  </div>`;
}

/** A text field. `onChange` gets the text. */
export const TextField = ({ value, onChange, type = "text", placeholder, disabled, inputmode, ...field }) => html`<${Field} ...${field}>
  ${(props) => html`<input ...${props} type=${type} value=${value ?? ""} placeholder=${placeholder} disabled=${disabled} inputmode=${inputmode} autocomplete=${type === "password" ? "new-password" : "off"} spellcheck=${false}
    onInput=${(event) => onChange(event.target.value)} />`}
<//>`;

/** A text of several lines. */
export const AreaField = ({ value, onChange, rows = 4, placeholder, disabled, ...field }) => html`<${Field} ...${field}>
  ${(props) => html`<textarea ...${props} rows=${rows} value=${value ?? ""} placeholder=${placeholder} disabled=${disabled} spellcheck=${false} onInput=${(event) => onChange(event.target.value)} />`}
<//>`;

/** A choice; options are [value, label]. */
export const SelectField = ({ value, onChange, options, disabled, ...field }) => html`<${Field} ...${field}>
  ${(props) => html`<select ...${props} value=${value ?? ""} disabled=${disabled} onChange=${(event) => onChange(event.target.value)}>
    ${options.map(([id, text]) => html`<option value=${id}>${text}</option>`)}
  </select>`}
<//>`;

/** On or off. `why` disables it and tells the reason. */
export const Switch = ({ label, hint, value, onChange, why }) => html`<label class="switch" data-tip=${why}>
  <input type="checkbox" role="switch" checked=${value} aria-disabled=${why ? true : undefined} onClick=${(event) => why && event.preventDefault()} onChange=${(event) => onChange(event.target.checked)} />
  <i aria-hidden="true" /><span>${label}${hint && html`<small>${hint}</small>`}</span>
</label>`;

// ---- What lies above the page ----

const dialogs = store([]);
const toasts = store([]);
let serial = 0;

/** Shows a passing message. `tone`: "ok" | "bad" | "info"; errors stay until they are closed. */
export function toast(text, tone = "ok") {
  const id = ++serial;
  toasts.set([...toasts.value.slice(-3), { id, text, tone }]);
  if (tone !== "bad") setTimeout(dropToast, 5000, id);
}

const dropToast = (id) => toasts.set(toasts.value.filter((one) => one.id !== id));

/**
 * A dialog: modal, focus stays inside, Esc closes. `size`: "wide" for more room.
 * `footer` are its buttons. Focus begins at the element with `autofocus`, or the first.
 */
export function Dialog({ title, onClose, children, footer, size, tone }) {
  const box = useRef(null);
  const id = useId();
  useEffect(() => {
    const element = box.current;
    const before = document.activeElement;
    element.showModal();
    return () => {
      element.close();
      before?.focus?.();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${box} class=${classes("dialog", size, tone)} aria-labelledby=${id} onCancel=${cancel} onMouseDown=${(event) => event.target === box.current && onClose()}>
    <div class="dialog-box">
      <header><h2 id=${id}>${title}</h2><${Button} kind="ghost" icon="close" label=${t("ui.close")} onClick=${onClose} /></header>
      <div class="dialog-body">${children}</div>
      ${footer && html`<footer>${footer}</footer>`}
    </div>
  </dialog>`;
}

/**
 * Shows a dialog made by `content(close)`, an element <Dialog …>; resolves with what `close` is given.
 * @returns {Promise<any>}
 */
export const open = (content) =>
  new Promise((resolve) => {
    const id = ++serial;
    const close = (result) => {
      dialogs.set(dialogs.value.filter((one) => one.id !== id));
      resolve(result);
    };
    dialogs.set([...dialogs.value, { id, content: () => content(close) }]);
  });

/**
 * Asks; resolves with whether it was agreed to. With `run` (async) the dialog stays, busy, until that is done, and shows what it throws.
 * @returns {Promise<boolean>}
 */
export const confirm = ({ title, text, action, danger, run }) =>
  open((close) => html`<${Confirmation} ...${{ title, text, action, danger, run, close }} />`);

function Confirmation({ title, text, action, danger, run, close }) {
  const [error, setError] = useState("");
  const agree = async () => {
    setError("");
    try {
      await run?.();
      close(true);
    } catch (failure) {
      setError(failure.message);
    }
  };
  return html`<${Dialog} title=${title} onClose=${() => close(false)} footer=${html`
    <${Button} autofocus=${Boolean(danger)} onClick=${() => close(false)}>${t("ui.cancel")}<//>
    <${Button} kind=${danger ? "danger" : "primary"} autofocus=${!danger} onClick=${agree}>${action}<//>`}>
    <p>${text}</p>
    ${error && html`<${Notice} tone="bad">${error}<//>`}
  <//>`;
}

/** Draws dialogs, toasts and tips; Layout has it. */
export function Overlays() {
  const shown = useStore(dialogs);
  const passing = useStore(toasts);
  return html`<${Fragment}>
    ${shown.map(({ id, content }) => html`<${Fragment} key=${id}>${content()}<//>`)}
    <div class="toasts" role="status" aria-live="polite">
      ${passing.map(({ id, text, tone }) => html`<div key=${id} class=${`toast ${tone}`}>
        <${Icon} name=${tone === "bad" ? "alert" : tone === "ok" ? "check" : "info"} /><span>${text}</span>
        <button type="button" aria-label=${t("ui.close")} onClick=${() => dropToast(id)}><${Icon} name="close" size=${14} /></button>
      </div>`)}
    </div>
    <${Tips} />
  <//>`;
}

// One tip for the whole page: an element says data-tip, and it is shown when the pointer or the focus comes to it.
function Tips() {
  const [tip, setTip] = useState(null);
  const box = useRef(null);
  useEffect(() => {
    let owner = null;
    const hide = () => {
      owner?.removeAttribute("aria-describedby");
      owner = null;
      setTip(null);
    };
    const show = (event) => {
      const target = event.target.closest?.("[data-tip]");
      if (target === owner) return;
      hide();
      if (!target || (event.type === "focusin" && !target.matches(":focus-visible"))) return;
      owner = target;
      // A label says the same already.
      if (target.getAttribute("aria-label") !== target.dataset.tip) target.setAttribute("aria-describedby", "tip");
      setTip({ text: target.dataset.tip, target });
    };
    const key = (event) => event.key === "Escape" && hide();
    const events = { pointerover: show, focusin: show, focusout: hide, pointerdown: hide, keydown: key };
    for (const [name, listener] of Object.entries(events)) document.addEventListener(name, listener);
    addEventListener("scroll", hide, true);
    addEventListener("hashchange", hide);
    return () => {
      for (const [name, listener] of Object.entries(events)) document.removeEventListener(name, listener);
      removeEventListener("scroll", hide, true);
      removeEventListener("hashchange", hide);
    };
  }, []);
  useLayoutEffect(() => {
    if (!tip) return;
    // A dialog lies above everything but what is shown as a popover after it.
    box.current.showPopover?.();
    const around = tip.target.getBoundingClientRect();
    const own = box.current.getBoundingClientRect();
    const left = Math.min(Math.max(8, around.left + around.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const top = around.top - own.height - 6 > 4 ? around.top - own.height - 6 : around.bottom + 6;
    Object.assign(box.current.style, { left: `${left}px`, top: `${top}px` });
  }, [tip]);
  return tip && html`<div class="tip" id="tip" role="tooltip" popover="manual" ref=${box} key=${tip.text}>${tip.text}</div>`;
}
